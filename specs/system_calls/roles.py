"""The processes of the daemon, and which of them makes which."""

from machine.system_calls import Role

# Guardian and keeper make each other without end, so that neither can take away more than the other may lack, and each needs
# what the workers need that come of it. Theirs is the widest filter; a worker's is laid over it, and an archiver's over that.
# A spare has a worker's from its first step on: it goes through all that a worker does.
ROLES = (
    Role("guardian", True, (("keeper", ""),), "what was started; from the moment when the sandbox is made"),
    Role("keeper", False, (("guardian", ""), ("newborn", "")), "has the guardian's filter"),
    Role("newborn", False, (("worker", ""),), "the keeper's clone, until it has given its rights up and settled"),
    Role("worker", True, (("archiver", "--journal-archive"),), "and the spare that it was"),
    Role("archiver", True, (), "the worker's child that writes the archive"),
    Role("sealer", True, (), "made before all others; holds the key of --journal-seal-key, and makes the next sealer"),
)
