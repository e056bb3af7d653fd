"""vhost-user, without input or output: bytes in, actions and a reply out.

`wire` knows frames, `messages` the table of messages, `session` what a message may do now. A handler (`on_*`) drafts
transitions on a copy (`draft`) and names the actions that make them real (`actions`); `control` performs them on the engine
and the journal. The order is always: ask the machine, record, act.

Rules. An illegal message changes nothing and closes the descriptors that came with it. What is to be served follows from the
records alone (`serving`): nothing is remembered beside them, so nothing can be forgotten at a death.
"""
