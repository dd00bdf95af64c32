"""The mutations: each takes one defence out of the product, and names the test that fails without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One defence, and what somebody who did not know its reason might have written instead."""

    promise: int
    """Its number in docs/architecture.md."""
    without: str
    """What the product is without it, as a sentence."""
    path: str
    """The module, below ``proxy/wheelgate/``."""
    text: str
    """Occurs there exactly once."""
    instead: str
    test: str
    """The test that fails: ``tests/room/test_x.py::test_y``."""
    only: str = ""
    """Case of that test, in pytest's spelling, where one will do and others take long."""

    @property
    def node(self) -> str:
        """The test as pytest selects it; one of a suite that others inherit is run where it is cheap."""
        inherited = "tests/storage/blob_store_contract.py::"
        test = self.test.replace(inherited, "tests/storage/test_local.py::TestLocalStore::")
        return f"{test}[{self.only}]" if self.only else test


_ATTACKS = "tests/acceptance/test_attacks.py::"
_TIME = "tests/acceptance/test_over_time.py::"
_FAULTS = "tests/faults/test_table.py::test_each_row_of_the_table_holds"

MUTATIONS = (
    # --- 1. A private name stays private
    Mutation(
        1,
        "public sources are asked together with private ones",
        "index/merged.py",
        "await self._ask_private(known, private)",
        "await self._ask_private(known, self._order)",
        _ATTACKS + "test_a_higher_version_of_a_private_name",
        "uv",
    ),
    Mutation(
        1,
        "a private source that fails is passed over",
        "index/listing_wait.py",
        "answer.outcome in (Outcome.LISTED, Outcome.FAILED)",
        "answer.outcome is Outcome.LISTED",
        _TIME + "test_a_restarted_server_whose_private_source_is_down_lets_nobody_else_answer",
        "uv",
    ),
    Mutation(
        1,
        "a claim does not keep public sources from being asked",
        "index/merged.py",
        "[member for member in members if member.source.name in shared or not known.claimed]",
        "list(members)",
        _ATTACKS + "test_a_squat_of_a_name_whose_private_files_were_all_deleted",
        "uv",
    ),
    Mutation(
        1,
        "names keep their capitals",
        "core/names.py",
        'return SEPARATORS.sub("-", name).lower() if',
        'return SEPARATORS.sub("-", name) if',
        _ATTACKS + "test_a_squat_in_another_spelling",
        "uv-Acme.LIB",
    ),
    Mutation(
        1,
        "nothing is written down of what a private source lists",
        "index/merged.py",
        "await self._claims.claim(project, source, listed=True)",
        "pass",
        "tests/acceptance/test_ownership.py::test_what_one_replica_learns_is_private_every_replica_knows_within_seconds",
    ),
    Mutation(
        1,
        "public sources are asked for reserved names",
        "index/merged.py",
        "        if known.reserved_by is not None:\n            return _spare(",
        "        if False:\n            return _spare(",
        "tests/index/test_merged_properties.py::test_a_decision_follows_from_what_was_said",
    ),
    # --- 2. A credential reaches only its place
    Mutation(
        2,
        "a target is compared as text, not by whole segments",
        "credentials/connections.py",
        "        for length in range(len(place.segments), -1, -1):\n"
        "            target = UrlScope(place.origin, place.segments[:length])\n"
        "            if target in self._by_place:\n",
        "        for target in sorted(self._by_place, key=lambda scope: -len(scope.segments)):\n"
        '            if target.origin == place.origin and "/".join(place.segments).startswith("/".join(target.segments)):\n',
        "tests/credentials/test_connections.py::test_a_credential_is_given_exactly_where_the_contract_says",
    ),
    Mutation(
        2,
        "a redirect is followed with the credential of the first URL",
        "upstream/hops.py",
        "        credential = self._credentials.for_url(url)\n        response",
        "        credential = self._credentials.for_url(question.url)\n        response",
        "tests/credentials/test_leaks.py::test_a_redirect_takes_no_secret_along",
    ),
    Mutation(
        2,
        "a feed's credential goes to whatever is in its organisation",
        "credentials/connections.py",
        "if place.is_feed_file_of(self._page.organisation) or place.is_feed_service_of(self._page.organisation):",
        "if place.organisation is not None and place.organisation == self._page.organisation:",
        "tests/credentials/test_connections.py::test_a_credential_is_given_exactly_where_the_contract_says",
    ),
    Mutation(
        2,
        "a feed's credential goes to whatever is asked of the host that tells of feeds",
        "core/devops.py",
        '_SERVICE.fullmatch("/".join(segments))',
        're.fullmatch(r"(?P<home>[^/]+)/(?P<feed>[^/]+)(?P<rest>(?:/[^/]+)*)", "/".join(segments))',
        "tests/credentials/test_connections.py::test_a_credential_is_given_exactly_where_the_contract_says",
    ),
    Mutation(
        2,
        "a host that an upstream redirects to is repeated as it was written",
        "core/urls.py",
        'return (url.host_port_subcomponent or "").lower()',
        'return url.host_port_subcomponent or ""',
        "tests/acceptance/test_canaries.py::test_no_answer_and_no_log_line_has_a_secret_in_it",
        "elsewhere",
    ),
    # --- 3. Whole bodies are right
    Mutation(
        3,
        "a body that is fetched into the store is handed out to its end at once",
        "storage/fills.py",
        "visible = self.spooled.size if self.verified else self.spooled.size - HOLD_BYTES",
        "visible = self.spooled.size",
        "tests/acceptance/test_files.py::test_what_turns_out_wrong_is_broken_off_before_it_is_whole",
        "cache",
    ),
    Mutation(
        3,
        "of a body that is passed through nothing is held back",
        "files/bodies.py",
        "        if len(held) > HOLD_BYTES:\n            yield held[:-HOLD_BYTES]\n            held = held[-HOLD_BYTES:]\n",
        '        yield held\n        held = b""\n',
        "tests/files/test_delivery.py::test_what_is_passed_through_is_checked_all_the_same",
    ),
    Mutation(
        3,
        "digests are not compared with those listed",
        "storage/fills.py",
        "            if digests[algorithm] != digest:",
        "            if not digest:",
        "tests/acceptance/test_files.py::test_what_turns_out_wrong_is_broken_off_before_it_is_whole",
        "stream",
    ),
    # --- 4. A file name keeps its bytes
    Mutation(
        4,
        "what was seen of a file before is not compared with what is listed now",
        "enrich/records.py",
        "        return any(seen.hashes[algorithm] != hashes[algorithm] for algorithm in common)",
        "        return False",
        _TIME + "test_a_file_that_went_and_came_back_with_other_bytes_is_withheld",
    ),
    Mutation(
        4,
        "whatever is uploaded under a name that is taken is called known",
        "uploads/accept.py",
        "        if kept == checked.sha256:",
        "        if kept:",
        "tests/acceptance/test_uploading.py::test_a_new_upload_the_same_again_and_other_bytes",
    ),
    Mutation(
        4,
        "a deletion leaves no tombstone",
        "uploads/manage.py",
        "            await together(announcing, self._tombstones.write(project, filename, sha256))\n",
        "            await announcing\n",
        "tests/acceptance/test_uploading.py::test_yank_unyank_and_delete",
    ),
    Mutation(
        4,
        "whatever a source or a bundle lists now is what a mirror's name is for",
        "mirror/manifest.py",
        "if known is not None and not is_known and not _may_change(known):",
        "if known is None and is_known:",
        "tests/mirror/test_vouched_bytes.py::test_first_sight_lives_in_the_manifest_also_of_what_never_came",
        "container",
    ),
    Mutation(
        4,
        "a mirror's manifest vouches for whatever was put there last",
        "mirror/manifest.py",
        "if first is not None and first.sha256 != entry.sha256 and not _is_document(first):",
        "if first is None and entry.sha256 is None:",
        "tests/mirror/test_vouched_bytes.py::test_no_entry_may_be_taken_for_another",
    ),
    # --- 5. An acknowledged upload is there
    Mutation(
        5,
        "a body is written under its own name, piece by piece",
        "storage/disk.py",
        "                    os.link(ready, name, dst_dir_fd=folder)",
        "                    opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)\n"
        "                    with open(opened, 'wb', 0) as made:\n"
        "                        for chunk in iter(lambda source=ready.open('rb'): source.read(262_144), b''):\n"
        "                            made.write(chunk)\n"
        "                            os.fsync(made.fileno())  # most of the time it takes, so that a kill meets it half done",
        "tests/storage/test_local.py::test_a_writer_killed_at_any_moment_leaves_a_name_absent_or_whole",
    ),
    Mutation(
        5,
        "whoever comes too late writes facts all the same",
        "storage/disk.py",
        "        except FileNotFoundError:\n            return\n        raise self._exists_error(path)",
        "        except FileNotFoundError:\n            return",
        "tests/storage/blob_store_contract.py::test_of_many_who_take_one_name_at_once_one_wins_with_its_own_facts",
    ),
    # --- 6. What was seen keeps installing
    Mutation(
        6,
        "a page that was good a moment ago is not used when its source fails",
        "sources/cached.py",
        "        if answer is None or answer.is_refused or not self._may_stand_in(answer):\n            raise error",
        "        if answer is not None or answer is None:\n            raise error",
        "tests/sources/test_cached.py::test_the_last_good_page_stands_in_for_a_day_and_no_longer",
    ),
    Mutation(
        6,
        "it is used for ever",
        "sources/cached.py",
        "self._clock.monotonic() - answer.heard_s <= STALE_IF_ERROR_S",
        "answer.heard_s <= self._clock.monotonic()",
        "tests/enrich/test_enriched.py::test_the_page_of_before_the_restart_stands_in_for_a_day",
    ),
    Mutation(
        6,
        "pages of before the process began are not looked for",
        "sources/cached.py",
        "page = await self._find_kept(project) if self._find_kept is not None else None",
        "page = None",
        _TIME + "test_after_a_restart_with_the_upstream_down_what_was_seen_installs",
        "uv-SIGTERM",
    ),
    # --- 7. One question upstream
    Mutation(
        7,
        "everybody who asks for a page asks the upstream",
        "runtime/singleflight.py",
        "        flight = self._flights.get(key)",
        "        key = (key, object())\n        flight = self._flights.get(key)",
        "tests/acceptance/test_single_flight.py::test_many_cold_requests_for_a_page_make_one_upstream_request",
    ),
    Mutation(
        7,
        "everybody who asks for core metadata asks the upstream",
        "files/metadata_files.py",
        "return await self._flights.run(listed, lambda: self._body(file))",
        "return await self._body(file)",
        "tests/acceptance/test_single_flight.py::test_many_cold_requests_for_metadata_make_one_upstream_request",
    ),
    Mutation(
        7,
        "everybody who asks for a file has it fetched",
        "files/delivery.py",
        "        key = _key(file)\n        fill = self._fills.get(key)\n",
        "        key = _key(file)\n        fill = None\n",
        "tests/acceptance/test_single_flight.py::test_many_cold_requests_for_a_file_make_one_upstream_request",
    ),
    # --- 8. Memory is bounded
    Mutation(
        8,
        "a large page is written at once, whether or not its client takes it",
        "web/fast_path.py",
        "            piece, rest = rest[:SLICE_BYTES], rest[SLICE_BYTES:]",
        "            piece, rest = rest, rest[:0]",
        "tests/acceptance/test_connections.py::test_large_pages_that_nobody_takes_cost_little",
        "memory",
    ),
    Mutation(
        8,
        "large pages on their way wait for no room",
        "runtime/byte_budget.py",
        "            if waiter.share is not oldest and self.used_bytes + waiter.more_bytes > self._size_bytes:",
        "            if waiter.share is not oldest and waiter.more_bytes < 0:",
        "tests/runtime/test_byte_budget.py::test_everybody_ends_and_the_bound_holds",
    ),
    Mutation(
        8,
        "a head that comes byte by byte has no deadline",
        "web/client_connection.py",
        "    head_s: float = 15.0",
        "    head_s: float = 15_000.0",
        "tests/acceptance/test_connections.py::test_what_is_held_by_whoever_proves_nothing_ends",
    ),
    # --- 9. One decision
    Mutation(
        9,
        "a page may list files of other projects",
        "simple_api/collector.py",
        "        if not (covered or filename in self._members):",
        "        if not (covered or filename):",
        _ATTACKS + "test_a_page_that_lists_another_projects_file",
        "uv",
    ),
    Mutation(
        9,
        "a file is looked up on the page that was, not on the one that is",
        "web/files.py",
        "entry = self._pages.find_servable(target.project)",
        "entry = self._pages._entries.get(target.project)",
        "tests/web/test_fast_path.py::test_a_file_that_is_no_longer_listed_is_no_longer_had",
    ),
    Mutation(
        9,
        "a file that is not on the page is answered from wherever else it is",
        "index/merged.py",
        "        if rule is None or first.source not in rule.sources:\n            known = _spare(",
        "        if rule is None:\n"
        "            known = await self._ask(known, order, order)\n"
        "            return await self._serve(\n"
        "                known, [answer for answer in known.answers if answer.page], MergeRule(self._reserved, ()), reason\n"
        "            )\n"
        "        if first.source not in rule.sources:\n            known = _spare(",
        _ATTACKS + "test_a_lock_file_that_skips_the_page",
        "uv",
    ),
    # --- 10. What is not configured is refused
    Mutation(
        10,
        "beyond this machine everybody may read, although nobody said so",
        "config/settings.py",
        "        elif self.anonymous is None and not self.is_loopback:",
        "        elif self.anonymous is None and self.is_loopback is None:",
        "tests/cli/test_commands.py::test_beyond_this_machine_serve_wants_to_be_told_who_may_read",
    ),
    Mutation(
        10,
        "a redirect is followed wherever it leads",
        "upstream/hops.py",
        "        if not self._rules.allows(target):",
        "        if not target:",
        _FAULTS,
        "upstream/to-other-port",
    ),
    Mutation(
        10,
        "unknown settings are passed over",
        "config/section.py",
        'ConfigDict(extra="forbid",',
        'ConfigDict(extra="ignore",',
        "tests/config/test_load.py::test_an_unknown_setting_is_named_with_the_one_that_was_meant",
    ),
    # --- 11. What is left out is added, and nothing is invented
    Mutation(
        11,
        "what a wheel says is not told on its page",
        "enrich/enriched.py",
        'offered = {"sha256": made.metadata_sha256} if made else {}',
        "offered = {}",
        "tests/acceptance/test_bare_feeds.py::test_the_page_gains_what_the_wheel_says",
    ),
    Mutation(
        11,
        "files without an upload time stay so",
        "enrich/enriched.py",
        '        known["upload_time"] = uploaded',
        "        pass",
        "tests/acceptance/test_bare_feeds.py::test_files_are_as_old_as_our_first_sight_of_them",
    ),
    Mutation(
        11,
        "a later upload time overwrites an earlier one",
        "enrich/enriched.py",
        "        return min(record.uploaded, file.upload_time)",
        "        return file.upload_time",
        "tests/enrich/test_enriched.py::test_an_upload_time_never_moves_later",
    ),
    Mutation(
        11,
        "what came later is as old as whoever sends it says",
        "enrich/enriched.py",
        "    return is_first_sight and first_look is not None and record.at - first_look <= _LOOKED_WITHIN",
        "    return is_first_sight",
        "tests/enrich/test_enriched.py::test_what_came_later_is_not_older_than_our_sight_of_it",
    ),
    Mutation(
        11,
        "metadata that is advertised and not sent is an error for ever",
        "files/metadata_files.py",
        "            return await self._read_instead(file, error)",
        "            raise error from None",
        "tests/acceptance/test_advertised_metadata.py::test_what_is_advertised_and_not_sent_is_read_out_of_the_wheel",
    ),
    Mutation(
        11,
        "core metadata is served whatever its digest",
        "files/advertised_metadata.py",
        "    return advertised is None or hashlib.sha256(body).hexdigest() == advertised",
        "    return True",
        "tests/acceptance/test_files.py::test_core_metadata_is_right_or_not_given",
    ),
    Mutation(
        11,
        "keys without a value stand on pages as null",
        "simple_api/render.py",
        'class _WireFile(msgspec.Struct, rename="kebab", omit_defaults=True, gc=False):',
        'class _WireFile(msgspec.Struct, rename="kebab", gc=False):',
        "tests/simple_api/test_render.py::test_nothing_is_ever_null_and_only_known_keys_appear",
    ),
    # --- 12. Absence needs evidence
    Mutation(
        12,
        "every 404 is taken for the index's own",
        "sources/absence.py",
        "        return any(kind.fits(answer, project) for kind in self._kinds)",
        "        return True",
        "tests/sources/test_absence.py::test_what_answers_in_the_place_of_an_index_sends_no_name_elsewhere",
    ),
    Mutation(
        12,
        "an index that lost all it had is a new one",
        "sources/control_questions.py",
        "return (None, lost) if ever_had or by_page else (",
        "return (None, lost) if not root.declared else (",
        "tests/sources/test_absence.py::test_a_new_index_without_a_project_is_one_and_one_that_lost_all_is_not",
    ),
    Mutation(
        12,
        "what other replicas saw of an index since is not looked for",
        "sources/known_projects.py",
        "        if not await self.names() and (store := self._store) is not None:",
        "        if (store := self._store) is None and store is not None:",
        "tests/sources/test_known_projects.py::test_a_source_that_another_replica_saw_projects_of_is_no_new_one",
    ),
    Mutation(
        12,
        'a redirect says "not there", wherever it leads',
        "sources/control_questions.py",
        "            return self.find_neighbour(answer) is not None",
        "            return True",
        "tests/sources/test_manners.py::test_what_says_nothing_sends_no_name_elsewhere",
    ),
    Mutation(
        12,
        "what one name alone gets is the index's way to lack a project",
        "sources/absence.py",
        " and self._learned.fits(answer, project):",
        ":",
        "tests/sources/test_manners.py::test_what_says_nothing_sends_no_name_elsewhere",
    ),
    Mutation(
        12,
        "a list of projects shows that an index is well that has empty pages for all",
        "sources/absence.py",
        "by_page=not is_plain",
        "by_page=False",
        "tests/sources/test_manners.py::test_an_index_that_is_ill_sends_no_name_elsewhere",
    ),
    Mutation(
        12,
        'an empty page is "not there" for an hour after a made-up name had one',
        "sources/absence.py",
        "age_s < (KIND_S if is_plain else SEEN_S)",
        "age_s < KIND_S",
        "tests/sources/test_manners.py::test_an_empty_page_is_a_page_once_a_name_that_nobody_can_have_gets_none",
    ),
    Mutation(
        12,
        "a file host answers for pages",
        "upstream/hops.py",
        "                if question.stays:",
        "                if question.stays and question.is_control:",
        "tests/sources/test_simple_index.py::test_a_file_host_answers_for_no_page",
    ),
    Mutation(
        12,
        "an empty container is believed, whichever it is",
        "sources/emptiness.py",
        "        if not await self._known.may_be_empty(place):",
        "        if self._known is None:",
        "tests/sources/test_emptiness.py::test_what_an_empty_place_is_worth",
    ),
    # --- 13. Nobody waits in silence
    Mutation(
        13,
        "everybody waits out the time for a service that is known to be silent",
        "runtime/silence_breaker.py",
        "        if self.is_open:\n            raise Unanswered",
        "        if False:\n            raise Unanswered",
        "tests/runtime/test_silence_breaker.py::test_silence_costs_once_and_is_over_by_itself",
    ),
    # --- 14. What was observed is no evidence
    Mutation(
        14,
        "whatever is sent for a file of which no digest is stated is kept",
        "storage/fills.py",
        "            await self._prove(self.file, self.spooled.path)",
        "            pass",
        "tests/acceptance/test_unstated_digests.py::test_nothing_wrong_leaves_to_its_end_or_is_kept_and_what_is_right_comes_then",
    ),
    Mutation(
        14,
        "what is passed through is let out to its end unseen",
        "files/bodies.py",
        "            if not (self.file.stated_hashes or is_index_document(self.file.filename)):",
        "            if self.file.stated_hashes is None:",
        "tests/acceptance/test_unstated_digests.py::test_nothing_wrong_leaves_to_its_end_or_is_kept_and_what_is_right_comes_then",
    ),
    Mutation(
        14,
        "an observed digest counts as a stated one",
        "enrich/file_history.py",
        "        if sha256 is not None and (hashes or file.stated_hashes):",
        "        if sha256 is not None:",
        "tests/enrich/test_enriched.py::test_what_was_observed_gives_way_to_what_is_stated",
    ),
    Mutation(
        14,
        "a copy stays though its digest was no more than observed",
        "files/kept_copies.py",
        "    return bool(file.stated_hashes) and info.facts.get(STANDING) == OBSERVED",
        "    return False",
        "tests/files/test_kept_copies.py::test_an_observed_copy_gives_way_to_what_is_stated_and_no_other_does",
    ),
    Mutation(
        14,
        "a size seen in passing is held against what comes",
        "core/model.py",
        '        return None if "size" in self.observed else self.size',
        "        return self.size",
        "tests/acceptance/test_unstated_digests.py::test_metadata_that_is_read_by_ranges_is_no_evidence_of_the_wheel",
    ),
    # --- 15. What passes through stays public
    Mutation(
        15,
        "what nobody can tell whose it is counts as public",
        "index/questions.py",
        "    if judgement.ownership is Ownership.UNKNOWN:",
        "    if False:",
        "tests/index/test_passing.py::test_what_nobody_can_tell_is_neither_asked_in_public_nor_claimed",
    ),
    Mutation(
        15,
        "what a source passes through is its own",
        "index/questions.py",
        "    if judgement is not None and judgement.ownership is not Ownership.OWN:",
        "    if False:",
        "tests/index/test_passing.py::test_a_public_project_is_the_public_sources_and_is_not_asked_of_the_feed",
    ),
    Mutation(
        15,
        "versions from outside come with a source's own",
        "index/questions.py",
        "    own = None if judgement is None else judgement.own_versions",
        "    own: frozenset[str] | None = None",
        "tests/index/test_passing.py::test_of_a_mixed_project_only_its_own_versions_are_served",
    ),
    Mutation(
        15,
        "what was public before an outage is public for good",
        "index/questions.py",
        "    outcome = Outcome.ABSENT if judgement.outage_since is None else Outcome.ABSENT_BEFORE_OUTAGE",
        "    outcome = Outcome.ABSENT",
        "tests/index/test_passing.py::test_a_service_that_falls_silent_stands_by_what_it_said_and_nothing_newer_is_served",
    ),
    Mutation(
        15,
        "an outage counts only for sources before the private side of the owner",
        "index/outage_window.py",
        "lambda answer: answer.source != owner or answer.page is None, answers",
        "lambda answer: answer.source != owner, answers",
        "tests/index/test_passing.py::test_an_outage_of_another_private_source_puts_in_doubt_what_the_feed_passes_through",
    ),
    Mutation(
        15,
        "what another feed has from a public source is a feed's own",
        "feeds/findings.py",
        'if kind == "public" or (version.origin in behind and behind[version.origin].has_from_public(version.key)):',
        'if kind == "public":',
        "tests/feeds/test_judge.py::test_whose_a_project_is",
        "saved from what another feed saved",
    ),
    Mutation(
        15,
        "a feed behind another that cannot be asked has nothing of its own",
        "feeds/findings.py",
        "    if unknown is not None:",
        "    if False:",
        "tests/feeds/test_judge.py::test_whose_a_project_is",
        "a feed behind that nobody may see",
    ),
    Mutation(
        15,
        "a name is claimed by what its feed was a while ago",
        "index/questions.py",
        "    if judgement is None or not judgement.is_presumed or member.judge is None or listed_at is None:",
        "    if True:",
        "tests/index/test_presumed.py::test_what_it_lists_and_passes_through_by_now_is_public",
    ),
    Mutation(
        15,
        "a version that was saved from outside is evidence that a name is a feed's own",
        "feeds/findings.py",
        "        if not feed.upstreams and not any(version.origin for version in versions):",
        "        if not feed.upstreams:",
        "tests/feeds/test_confirming.py::test_a_version_saved_from_outside_is_no_evidence",
    ),
    Mutation(
        15,
        "copies of a feed that is offline are its own",
        "feeds/kept_judge.py",
        'return self._unknown(project, "it is offline, and the store has no record of that")',
        'return Judgement(ownership=Ownership.OWN, reason="it is offline")',
        "tests/feeds/test_kept_judge.py::test_what_no_record_tells_of_is_nobodys_if_there_are_copies",
        "team",
    ),
    Mutation(
        15,
        "what a feed would save by that is read before anybody asks for it",
        "index/read_ahead.py",
        "        saved = None if self._find_saved is None else await self._find_saved(project)",
        "        saved: frozenset[str] | None = None",
        "tests/index/test_read_ahead.py::test_what_a_feed_has_not_saved_is_not_read",
    ),
    Mutation(
        15,
        "what is asked of a public source is asked of the feed as well",
        "index/merged.py",
        "        if find_first(known.answers) is None:  # else a public source has it sooner, and with all that belongs to it",
        "        if True:",
        "tests/index/test_passing.py::test_a_public_project_is_the_public_sources_and_is_not_asked_of_the_feed",
    ),
    Mutation(
        15,
        "a name that anybody claimed is the feed's own",
        "index/ownership.py",
        "        if claimant == self._source:",
        "        if claimant is not None:",
        "tests/index/test_passing.py::test_a_public_name_that_uploads_took_over_is_not_asked_of_the_feed",
    ),
    Mutation(
        15,
        "a claimed name comes through whoever lists it",
        "index/ownership.py",
        "await self._claims.claimed_by(project) == self.name:",
        "await self._claims.claimed_by(project) is not None:",
        "tests/index/test_passing.py::test_a_name_that_another_source_claimed_does_not_come_through_it",
    ),
    Mutation(
        15,
        "a source that lists public names claims them",
        "index/ownership.py",
        "        if doubt is None:",
        "        if True:",
        "tests/acceptance/test_passing_through.py::test_one_of_which_nothing_is_said_claims_nothing_more_and_says_so",
    ),
    Mutation(
        15,
        "a page of before an outage claims its name",
        "index/ownership.py",
        "        if page.stale:",
        "        if False:",
        "tests/index/test_passing.py::test_a_page_of_before_an_outage_claims_nothing",
    ),
    Mutation(
        15,
        "what a private source passes through goes by the rules for private files",
        "wiring/views.py",
        "self._screen(source, private=False)",
        "self._screen(source, private=True)",
        "tests/acceptance/test_passing_through.py::test_its_own_project_installs_with_public_ones_that_go_by_the_rules",
        "False",
    ),
    Mutation(
        15,
        "a mirror claims what it has from public sources",
        "index/mirrored.py",
        "ownership = Ownership.OWN if told.is_own else Ownership.PUBLIC",
        "ownership = Ownership.OWN",
        "tests/index/test_mirrored.py::test_each_project_is_whose_the_manifest_says",
    ),
    Mutation(
        15,
        "what a mirror has of an own project from public sources goes by no rule",
        "index/mirrored.py",
        'case "merged" | "public":',
        'case "nothing":',
        "tests/index/test_mirrored.py::test_of_an_own_project_public_files_are_withheld_or_go_by_their_rules",
    ),
    Mutation(
        15,
        "a name is public by an old word while the service of its feed is slow",
        "feeds/judge.py",
        "said before an outage.\n            known.outage_since = known.outage_since or self._clock.now()",
        "said before an outage.",
        "tests/feeds/test_judge.py::test_what_stands_in_for_a_slow_service_is_what_was_said_before_an_outage",
    ),
    Mutation(
        15,
        "a mirror claims what was put there since its manifest was read",
        "index/mirrored.py",
        "self._read_facts(self._clock.now())",
        "self._read_facts()",
        "tests/index/test_mirrored.py::test_what_was_mirrored_since_the_manifest_was_read_is_not_claimed",
    ),
)
