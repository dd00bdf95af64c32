"""What clients ask of a company's replicas (`site.py`) while something is wrong, and how one tells that all is right again."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import replace

from tests.faults.engine import ask, ask_url, timed
from tests.faults.model import BROKEN_OFF, Seen
from tests.faults.site import JSON, Company, listed, new_token
from tests.support.gate import Answer
from tests.support.packages import metadata, wheel_bytes, wheel_name

PADDING = 300_000
PIECE = (1_000, 100_000)
EVERYWHERE_S = 5.0
"""How soon every replica has heard of a change."""
WATCH_S = 2.5
"""How long a change made elsewhere may take to be seen."""


def own(name: str) -> str:
    """A name that is private; the bait of that name is published."""
    return f"private-{name}"


def body_of(project: str, version: str = "1.0") -> bytes:
    return wheel_bytes(project, version, padding=PADDING)


def file_path(project: str) -> str:
    return f"/files/{project}/{wheel_name(project, '1.0')}"


def package_path(project: str) -> str:
    return f"packages/{project}/{wheel_name(project, '1.0')}"


def publish(site: Company, project: str, version: str = "1.0") -> None:
    body = body_of(project, version)
    site.public.publish(project, wheel_name(project, version), body, metadata=metadata(project, version))


def upload_own(site: Company, name: str) -> None:
    """A private file in the store, and then a higher one of that name in public."""
    seen = site.upload(own(name), body=body_of(own(name)))
    assert seen.status == 200, seen
    site.state["by_server_s"] = time.monotonic()
    publish(site, own(name), "99.0")


def see(site: Company, project: str, wait_s: float = 10.0) -> None:
    """Ask the first replica for a page until it has it."""
    deadline = time.monotonic() + wait_s
    while (seen := ask(site.server, f"/simple/{project}/", JSON)).status != 200:
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)


def settle(site: Company, replica: bool = False) -> None:
    """Until the first replica (or ``replica``: both) has heard of every change that another process made."""
    made_s = max(site.state.get("by_command_s", 0.0), site.state.get("by_server_s", 0.0) if replica else 0.0)
    time.sleep(max(0.0, made_s + WATCH_S - time.monotonic()))


class Page:
    """A public page."""

    name, words, kept = "page", "a public page that was just seen", "nothing new"
    recovery = ""
    changes = False
    new = False
    quiet = False
    """Whether no change of the store is so recent that its announcement is still on its way."""

    def project(self, name: str) -> str:
        return name

    def prepare(self, site: Company, name: str) -> None:
        publish(site, name)
        if self.quiet:
            settle(site, replica=True)
        if not self.new:
            see(site, self.project(name))
        if self.changes:
            assert site.upload(f"change-{name}").status == 200
        settle(site)

    def ask(self, site: Company, name: str) -> Seen:
        return self._judge(ask(site.server, f"/simple/{self.project(name)}/", JSON), name)

    def _judge(self, seen: Seen, name: str) -> Seen:
        if seen.status == 200:
            found = sorted(listed(seen.body))
            if found != [wheel_name(self.project(name), "1.0")]:
                return replace(seen, wrong=f"it lists {found}")
        return seen

    def look_healed(self, site: Company, name: str) -> str:
        seen = self.ask(site, name)
        return seen.wrong or ("" if seen.status == 200 else f"{seen.status} {seen.reason}")

    def look_kept(self, site: Company, name: str, seen: Seen) -> str:
        return ""


class SeenPage(Page):
    quiet = True


class PageAfterChange(Page):
    name, words, changes = "page-after-change", "a public page that was seen before the last change of the store", True


class NewPage(Page):
    name, words, new = "new-page", "a public page that nobody asked for yet", True


class OwnPage(Page):
    name, words, quiet = "own-page", "a private page that was just seen", True

    def project(self, name: str) -> str:
        return own(name)

    def prepare(self, site: Company, name: str) -> None:
        upload_own(site, name)
        if self.quiet:
            settle(site, replica=True)
        if not self.new:
            see(site, own(name))
        settle(site)


class NewOwnPage(OwnPage):
    name, words = "new-own-page", "a private page that nobody asked for since its upload"
    new, quiet = True, False


class TeamPage(Page):
    """The moment in which a name becomes ours."""

    name, words, kept = "claim", "a name that a private index lists for the first time", "the claim, once all is well"

    def project(self, name: str) -> str:
        return f"team-private-{name}"

    def prepare(self, site: Company, name: str) -> None:
        project = self.project(name)
        site.team.publish(project, wheel_name(project, "1.0"), body_of(project))
        publish(site, project, "99.0")
        settle(site)

    def look_healed(self, site: Company, name: str) -> str:
        if wrong := super().look_healed(site, name):
            return wrong
        return "" if site.store.read(f"claims/{self.project(name)}") else "no claim is written"


class Redirect(OwnPage):
    name, words = "redirect", "a file of ours, by a signed URL of storage"

    def ask(self, site: Company, name: str) -> Seen:
        return ask(site.server, file_path(own(name)))

    def look_healed(self, site: Company, name: str) -> str:
        seen = self.ask(site, name)
        if seen.status != 302:
            return f"{seen.status} {seen.reason}"
        there = ask_url((seen.headers or {})["Location"])
        return "" if there.body == body_of(own(name)) else f"storage answers {there.status} to the signed URL"


class Range(OwnPage):
    name, words, quiet = "range", "a range of a file of ours, through us", False

    def ask(self, site: Company, name: str) -> Seen:
        start, end = PIECE
        seen = ask(site.server, file_path(own(name)), {"Range": f"bytes={start}-{end - 1}"})
        right = seen.status != 206 or seen.body == body_of(own(name))[start:end]
        return seen if right else replace(seen, wrong="other bytes")

    def look_healed(self, site: Company, name: str) -> str:
        seen = self.ask(site, name)
        return seen.wrong or ("" if seen.status == 206 else f"{seen.status} {seen.reason}")


class Stream(OwnPage):
    name, words = "stream", "a whole file of ours, through the replica that streams"

    def prepare(self, site: Company, name: str) -> None:
        upload_own(site, name)
        settle(site, replica=True)
        assert ask(site.replica, f"/simple/{own(name)}/", JSON | site.authorised()).status == 200

    def ask(self, site: Company, name: str) -> Seen:
        seen = ask(site.replica, file_path(own(name)), site.authorised())
        return seen if seen.status != 200 or seen.body == body_of(own(name)) else replace(seen, wrong="other bytes, and whole")

    def look_healed(self, site: Company, name: str) -> str:
        seen = self.ask(site, name)
        return seen.wrong or ("" if seen.status == 200 else f"{seen.status} {seen.reason}")


class TokenRead(Stream):
    name, words = "token", "a page that was just seen, with a token that is known"

    def ask(self, site: Company, name: str) -> Seen:
        return self._judge(ask(site.replica, f"/simple/{own(name)}/", JSON | site.authorised()), name)


class ColdFile(Page):
    name, words, kept = "cold-file", "a public file that we do not hold, its page just seen", "its bytes or nothing"

    def ask(self, site: Company, name: str) -> Seen:
        seen = ask(site.server, file_path(name))
        return seen if seen.status != 200 or seen.body == body_of(name) else replace(seen, wrong="other bytes, and whole")

    def look_healed(self, site: Company, name: str) -> str:
        seen = ask(site.server, file_path(name))
        if seen.status == 302:
            seen = ask_url((seen.headers or {})["Location"])
        return "" if seen.body == body_of(name) else f"{seen.status} {seen.reason}"

    def look_kept(self, site: Company, name: str, seen: Seen) -> str:
        kept = site.store.read(f"cache/public/{name}/{wheel_name(name, '1.0')}")
        return "" if kept in (None, body_of(name)) else "other bytes are kept"


class Metadata(OwnPage):
    name, words, quiet = "metadata", "core metadata of a file of ours", False

    def ask(self, site: Company, name: str) -> Seen:
        seen = ask(site.server, file_path(own(name)) + ".metadata")
        return seen if seen.status != 200 or f"Name: {own(name)}".encode() in seen.body else replace(seen, wrong="another text")

    def look_healed(self, site: Company, name: str) -> str:
        seen = self.ask(site, name)
        return seen.wrong or ("" if seen.status == 200 else f"{seen.status} {seen.reason}")


class Upload(OwnPage):
    name, words = "upload", "an upload"
    kept = "the file whole if it was acknowledged, else whole or nothing; whole after the next try"

    def project(self, name: str) -> str:
        return f"fresh-{name}"

    def prepare(self, site: Company, name: str) -> None:
        assert site.upload(f"before-{name}").status == 200, "the token is to be known"
        settle(site)

    def ask(self, site: Company, name: str) -> Seen:
        seen = site.upload(self.project(name), body=body_of(self.project(name)))
        site.state[name] = seen.status
        return seen

    def look_healed(self, site: Company, name: str) -> str:
        project, first = self.project(name), site.state[name]
        kept = site.store.read(package_path(project))
        if kept not in (None, body_of(project)) or (first == 200 and kept is None):
            return "the store has other bytes" if kept else "acknowledged, and not in the store"
        again = self.ask(site, name)
        if again.status != 200:
            return f"the same upload again: {again.status} {again.reason}"
        return self.look_everywhere(site, name)

    def look_everywhere(self, site: Company, name: str) -> str:
        for server, headers in ((site.server, JSON), (site.replica, JSON | site.authorised())):
            page = self._judge(ask(server, f"/simple/{self.project(name)}/", headers), name)
            if page.status != 200 or page.wrong:
                return f"a replica's page: {page.status} {page.wrong or page.reason}"
        return ""

    def look_kept(self, site: Company, name: str, seen: Seen) -> str:
        return (
            ""
            if site.store.read(package_path(self.project(name))) == body_of(self.project(name))
            else "the file is not in the store as it was sent"
        )


class _Manage(OwnPage, ABC):
    """An action on one file that was acknowledged, or else is done again when all is well."""

    action = ""

    def prepare(self, site: Company, name: str) -> None:
        super().prepare(site, name)
        settle(site, replica=True)

    def ask(self, site: Company, name: str) -> Seen:
        seen = site.post({":action": self.action, "filename": wheel_name(own(name), "1.0"), "reason": "a reason"})
        site.state[name, self.action] = seen.status == 200
        return seen

    def look_healed(self, site: Company, name: str) -> str:
        if not site.state[name, self.action]:
            again = self.ask(site, name)
            if again.status not in (200, 404):  # gone already: the first try did it, and could not say so
                return f"{self.action} again: {again.status} {again.reason}"
            site.state[name, self.action] = True
        for server, headers in ((site.server, JSON), (site.replica, JSON | site.authorised())):
            page = ask(server, f"/simple/{own(name)}/", headers)
            if page.status != 200 or (wrong := self.look_listed(page, name)):
                return f"a replica's page: {page.status} {wrong if page.status == 200 else page.reason}"
        return ""

    @abstractmethod
    def look_listed(self, page: Seen, name: str) -> str:
        """Tell what is wrong with a page once the action was acknowledged; empty: nothing."""


class Yank(_Manage):
    name, words, action, kept = "yank", "a yank", "yank", "the same bytes; yanked, once it was acknowledged"

    def look_listed(self, page: Seen, name: str) -> str:
        entry = listed(page.body).get(wheel_name(own(name), "1.0"))
        return "" if entry and entry.get("yanked") == "a reason" else f"not yanked: {entry}"

    def look_kept(self, site: Company, name: str, seen: Seen) -> str:
        return "" if site.store.read(package_path(own(name))) == body_of(own(name)) else "other bytes"


class Delete(_Manage):
    name, words, action, kept = (
        "delete",
        "a deletion",
        "delete",
        "nothing but the tombstone: other bytes are refused under the name",
    )

    def look_listed(self, page: Seen, name: str) -> str:
        return f"still listed: {found}" if (found := sorted(listed(page.body))) else ""

    def look_kept(self, site: Company, name: str, seen: Seen) -> str:
        if site.store.read(package_path(own(name))) is not None:
            return "the file is in the store"
        other = site.upload(own(name), body=wheel_bytes(own(name), "1.0"))
        return (
            "" if other.status == 400 and "File already exists" in other.reason else f"other bytes: {other.status} {other.reason}"
        )


class Revoke(Page):
    """By the command, which is a process of its own."""

    name, words, kept = "revoke", "`token revoke`", "no record of the token"

    def prepare(self, site: Company, name: str) -> None:
        upload_own(site, name)
        site.state[name] = text = new_token(site, "read")
        site.state["by_command_s"] = time.monotonic()
        settle(site, replica=True)
        assert self._use(site, name).status == 200, text

    def _use(self, site: Company, name: str) -> Seen:
        return ask(site.replica, f"/simple/{own(name)}/", JSON | {"Authorization": f"Bearer {site.state[name]}"})

    def _identifier(self, site: Company, name: str) -> str:
        return str(site.state[name].split("_")[1])

    def run(self, site: Company, name: str) -> subprocess.CompletedProcess[str]:
        site.state["by_command_s"] = time.monotonic()
        return site.server.run("token", "revoke", self._identifier(site, name))

    def ask(self, site: Company, name: str) -> Seen:
        def send() -> Answer:
            try:
                done = self.run(site, name)
            except subprocess.TimeoutExpired:
                raise OSError("the command did not end within 60 s") from None
            said = done.stderr + done.stdout
            if done.returncode not in (0, 1) or "Traceback" in said:
                raise OSError(f"the command ended with {done.returncode}: {said[-200:]}")
            return Answer(503 if done.returncode else 200, said.strip(), {}, b"")

        seen = timed(send)
        site.state[name, "revoked"] = seen.status == 200
        return seen

    def look_healed(self, site: Company, name: str) -> str:
        if not site.state[name, "revoked"]:
            done = self.run(site, name)
            if done.returncode and site.store.read(f"tokens/{self._identifier(site, name)}") is not None:
                return done.stderr
            site.state[name, "revoked"] = True
        deadline = time.monotonic() + EVERYWHERE_S
        while (used := self._use(site, name)).status != 401:
            if time.monotonic() > deadline:
                return f"the revoked token gets {used.status}, {EVERYWHERE_S:g} s after"
            time.sleep(0.1)
        return ""

    def look_kept(self, site: Company, name: str, seen: Seen) -> str:
        return "the record is there" if site.store.read(f"tokens/{self._identifier(site, name)}") is not None else ""


class Ready(Page):
    name, words = "readyz", "`/readyz`"

    def prepare(self, site: Company, name: str) -> None:
        pass

    def ask(self, site: Company, name: str) -> Seen:
        seen = ask(site.server, "/readyz")
        shown = site.store.place.encode() in seen.body
        return replace(seen, reason=seen.body.decode(), wrong="it shows the store's address" if shown else "")

    def look_healed(self, site: Company, name: str) -> str:
        seen = ask(site.server, "/readyz")
        return "" if seen.status == 200 and b"ready" in seen.body else f"{seen.status} {seen.body!r}"


class Restart(OwnPage):
    name, words = "restart", "a restart, and then a private page"

    def ask(self, site: Company, name: str) -> Seen:
        site.server.stop()
        try:
            site.server.start()
        except AssertionError as error:
            return Seen(BROKEN_OFF, str(error)[-300:])
        return super().ask(site, name)

    def look_healed(self, site: Company, name: str) -> str:
        if site.server.has_ended():
            site.server.start()
        return super().look_healed(site, name)


class ProjectList(OwnPage):
    name, words, quiet = "list", "the list of projects", False

    def ask(self, site: Company, name: str) -> Seen:
        seen = ask(site.server, "/simple/", JSON)
        missing = seen.status == 200 and f'"{own(name)}"'.encode() not in seen.body
        return replace(seen, wrong=f"{own(name)} is missing") if missing else seen


STEPS = [
    SeenPage(),
    PageAfterChange(),
    NewPage(),
    OwnPage(),
    NewOwnPage(),
    TeamPage(),
    Redirect(),
    Range(),
    Stream(),
    TokenRead(),
    ColdFile(),
    Metadata(),
    Upload(),
    Yank(),
    Delete(),
    Revoke(),
    Ready(),
    ProjectList(),
]
BY_NAME = {step.name: step for step in (*STEPS, Restart())}
