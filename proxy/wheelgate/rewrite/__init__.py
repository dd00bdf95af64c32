"""Rewriting of everything that says where packages come from, so that it names Wheelgate: a file's text in, its new text out.

The design, in the order in which a text passes through it:

1. **A format** (one line of ``formats.FORMATS``) is known by the file's name, else by its content. It has a *reader*, which
   finds the values of the text and where each stands, and *rules*, which say of some values that a package comes from there.
   Readers and rules are pure, and re-serialise nothing: ``toml_values`` and ``json_values`` are held against the standard
   library's reading of the same text, and a text of which the two say different things is refused.
2. **A place** (``places.Place``) is a URL at a span of the text, of a kind: an index, an index besides it, a page of links, a
   file, the index that a lock took a package from. Lists of pip's own lines (requirements files, ``pip:`` in YAML) are read
   line by line.
3. **A decision** is an edit of a span, a refusal (then nothing is written, of any file), or a remark. In one *scope* (a
   command, a stage of a Dockerfile, a mapping of variables) one index stands for all that Wheelgate answers for: public PyPI
   beside a private index goes too, since an installer that asks both may be answered by either. What cannot be made the only
   index is said.
4. **The new text is read again**: a second time must change nothing, or the file is refused.
5. **Leftovers**: all of the new text, comments and strings as they are written and as they are read, is searched for whatever
   looks like a credential, a signed URL, or the address of an index outside the places that a format explained. Each is named
   by line and makes the exit status 1. So a form that no rule knows is never taken for clean; it is at worst left to a
   person.

The arguments against it, and the answers. *A pattern is no parser of shell*: hence a URL is touched only behind an option or
variable that means one thing, its end must be one for every shell, and what is passed over is a leftover. *An escape hides a
URL*: a span is replaced only if its raw characters are the URL, and leftovers look at what readers decoded. *A key that is
renamed changes its meaning*: it is renamed only from "besides" to "first", alone in its scope, with all of its values ours.
*A file of no known format has no secret found in it*: it is refused, never searched and called clean; a YAML file without any
list of packages is said to be that. *The scanner cannot know every secret*: it errs towards naming, and the sentence never
says that a file is free of secrets.

A lock is swapped whole: the index of each package and its file links, hashes kept. The canonical addresses, without
credentials, stay with it as comments at its end, by package and file, so that ``--restore`` asks nobody. ``signing`` alone
talks to storage. Nothing here reads or writes a file.
"""
