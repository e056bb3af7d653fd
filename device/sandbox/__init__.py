"""The sandbox: after it is entered, the share is all that there is.

It is made once, before the first worker, and inherited: a descriptor that was opened in another mount namespace gives EXDEV
for link and rename, so all workers of a daemon must live in one. A pid namespace each worker has for itself.

Warning. A worker's root directory belongs to the guest. Whatever the interpreter would load late, it would load from
there: `late_imports` loads it before and refuses the rest.
"""
