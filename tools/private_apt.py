"""A private apt: download packages of another suite of the host's own mirror without touching the host.

Lists, package cache and dpkg status live in one directory of ours; proxies and other transport settings of
the host's apt stay in force because its apt.conf.d is read as usual. The mirror is taken from the host's own sources
(deb822 or one-line format, apt's sources.list(5)), so no mirror is named here.
"""

import dataclasses
import pathlib
import re
import shutil
import subprocess

APT_TIMEOUT_S = 300  # lists and a 100 MB kernel over a slow mirror; a hang must not hang a CI run


class AptError(Exception):
    """The operator's or the mirror's fault: apt is missing, has no usable source, or could not fetch."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One archive as the host's apt knows it."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str | None


def parse_deb822(text: str) -> list[Source]:
    """Sources of a ``*.sources`` file: one per URI and suite, disabled and source-only stanzas left out."""
    found: list[Source] = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[name] = fields.get(name, "") + "\n" + line.strip()
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        signed_by = fields.get("signed-by")
        keyring = signed_by if signed_by and signed_by.startswith("/") else None
        components = tuple(fields.get("components", "").split())
        found += [
            Source(uri, suite, components, keyring)
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found


def parse_one_line(text: str) -> list[Source]:
    """Sources of a ``*.list`` file: ``deb [options] uri suite component...``."""
    found: list[Source] = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options, uri, suite, components = match.groups()
            signed_by = re.search(r"signed-by=(/\S+)", options or "")
            found.append(Source(uri, suite, tuple(components.split()), signed_by.group(1) if signed_by else None))
    return found


def host_sources(etc_apt: pathlib.Path = pathlib.Path("/etc/apt")) -> list[Source]:
    """All archives the host's apt uses, in the order apt reads them."""
    found: list[Source] = []
    main_list = etc_apt / "sources.list"
    if main_list.is_file():
        found += parse_one_line(main_list.read_text())
    for path in sorted((etc_apt / "sources.list.d").glob("*")):
        if path.suffix == ".sources":
            found += parse_deb822(path.read_text())
        elif path.suffix == ".list":
            found += parse_one_line(path.read_text())
    return found


def os_release() -> dict[str, str]:
    """Fields of /etc/os-release, unquoted."""
    pairs = (line.partition("=") for line in pathlib.Path("/etc/os-release").read_text().splitlines())
    return {key: value.strip().strip("'\"") for key, _, value in pairs if key}


def distribution_source() -> Source:
    """The host distribution's main archive.

    Raises AptError when the host has no apt or none of its sources carries its own code name.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise AptError("apt-get and dpkg-deb are needed to fetch packages; this host has none")
    codename = os_release().get("VERSION_CODENAME", "")
    for source in host_sources():
        if source.suite == codename and "main" in source.components:
            return source
    raise AptError(f"no apt source for suite {codename!r} with component main in /etc/apt")


class PrivateApt:
    """apt-get and apt-cache over one suite, with all state below ``root``."""

    def __init__(self, root: pathlib.Path, source: Source, suite: str) -> None:
        self.root = root.absolute()
        self.suite = suite
        for name in ("lists/partial", "archives/partial", "etc"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        option = f" signed-by={source.signed_by}" if source.signed_by else ""
        components = " ".join(c for c in source.components if c in ("main", "universe", "restricted"))
        line = f"deb [arch=amd64{option}] {source.uri} {suite} {components}\n"
        (self.root / "etc" / "sources.list").write_text(line)

    def _options(self) -> list[str]:
        settings = {
            "Dir::Etc::SourceList": self.root / "etc" / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": self.root / "lists",
            "Dir::State::Status": self.root / "status",
            "Dir::Cache": self.root,
            "Dir::Cache::Archives": self.root / "archives",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",  # the _apt user can't write below a private directory
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "true",
            "Acquire::Retries": "3",
            "Acquire::http::Timeout": "30",
        }
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def _run(self, tool: str, *words: str, cwd: pathlib.Path | None = None) -> str:
        command = [tool, *self._options(), *words]
        try:
            done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=APT_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise AptError(f"{tool} {' '.join(words)}: no answer in {APT_TIMEOUT_S} s") from None
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise AptError(f"{tool} {' '.join(words)}: {' '.join(last)}")
        return done.stdout

    def update(self) -> None:
        """Fetch the suite's package lists. Raises AptError, also when apt merely warns that it could not."""
        self._run("apt-get", "update", "-qq", "--error-on=any")

    def depends(self, package: str) -> list[str]:
        """Names of the direct dependencies of ``package`` (apt's candidate version)."""
        text = self._run("apt-cache", "depends", "--no-recommends", "--no-suggests", package)
        return re.findall(r"^ {1,2}\|?Depends: ([^<\s]+)", text, re.MULTILINE)

    def download_unpack(self, packages: list[str], target: pathlib.Path) -> list[str]:
        """Download ``packages`` and unpack their files below ``target``; returns the .deb file names."""
        archives = self.root / "archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        self._run("apt-get", "download", "-qq", *packages, cwd=archives)
        debs = sorted(archives.glob("*.deb"))
        if len(debs) != len(packages):
            raise AptError(f"asked for {len(packages)} packages of {self.suite}, got {len(debs)}")
        target.mkdir(parents=True, exist_ok=True)
        for deb in debs:
            unpacked = subprocess.run(["dpkg-deb", "-x", str(deb), str(target)], capture_output=True, check=False)
            if unpacked.returncode != 0:
                raise AptError(f"dpkg-deb -x {deb.name}: {unpacked.stderr.decode(errors='replace').strip()}")
            deb.unlink()
        return [deb.name for deb in debs]
