"""Which columns of all tables are meant, and which are only said."""

from machine.rows import Wording

# A journal may only be continued with the tables that wrote it: a state or an effect that means something else now would be
# folded wrongly, so at the next start such a journal is set aside, and the guest's session with it. That must not happen for
# a corrected typo. So the digest by which a journal knows its tables is over their meaning: what stands in `left_out` is for
# readers and no part of it. Of what stands in `only_whether` the words don't count, but that there are any does: a message that
# says why it is refused is refused.
#
# The lists go by the columns' names, the same in every table and in the journal's JSON, so that an auditor needs nothing but
# that JSON to compute the digest. Together they name every column: one in no list is refused as the tables are loaded
# (`machine.canonical`), since left out by mistake it would let an old journal be misread. These lists are meant, too.
WORDING = Wording(
    left_out=("cite", "doc", "duty", "key", "means", "story", "why"),
    only_whether=("refused",),
    meant=(
        "about", "absent", "answer", "args", "args_in_plan", "back", "bit", "body", "borrows", "cases", "causes",
        "change", "changes_host", "choice", "choices", "code", "dest", "effects", "ends", "equals", "errno", "event",
        "events", "facts", "fds", "field", "fields", "gate", "given", "keeps_reply", "label", "lane", "left_out",
        "machine", "makes", "mask", "meant", "moves", "name", "names", "native", "offered", "only_whether", "opens",
        "option", "out", "own_fault", "plan", "readonly", "reads", "recorded", "refusals", "repeat", "reply", "rows", "served",
        "short", "silent", "states", "table", "then", "value", "values", "verb", "when", "witness", "words", "writes",
    ),
)  # fmt: skip
