"""A journal whose commits are made in C, as by the native executor: lent for each, and taken back."""

from random import Random

from journal._native import ffi

from journal import Journal


class Lending(Journal):
    """`commit` is several of the committer's, except where a journal can't be lent; `natively` counts those of C."""

    random = Random(0)
    natively = 0

    def commit(self) -> int:
        pending = self.pending
        if pending.clears or not pending.texts:
            return super().commit()
        texts, kinds, marks = pending.texts, pending.kinds[:], pending.marks[:]
        pending.texts = []
        if not self.lend():
            pending.texts = texts
            return super().commit()
        ends, sizes = self._commit_in_c(texts)
        pending.kinds.clear()
        pending.marks.clear()
        done = ends[-1] if ends else 0
        self.take_back(ends, sizes, kinds[:done], marks)
        if done < len(texts):
            pending.texts, pending.kinds[:], pending.marks[:] = texts[done:], kinds[done:], marks
            return super().commit()
        return self.last_seq

    def _commit_in_c(self, texts: list[str]) -> tuple[list[int], list[int]]:
        assert self.committer is not None
        function = ffi.cast("int (*)(void *, const char *, uint64_t, uint32_t)", self.committer.function)
        ends: list[int] = []
        sizes: list[int] = []
        while (at := ends[-1] if ends else 0) < len(texts):
            part = texts[at : at + self.random.randint(1, 4)]
            text = ",".join(part).encode()
            if function(ffi.cast("void *", self.committer.address), text, len(text), len(part)):
                break
            ends.append(at + len(part))
            sizes.append(len(text))
            self.natively += 1
        return ends, sizes
