"""Takes out of a recording or a report what is nobody else's business, by the type of each value.

Names of users and hosts give way to words of the same length and shape, everywhere in the same way: a path stays as long
as it was and keeps its spaces and its non-ASCII letters, so a recording is judged as the machine was. A masked secret
shows nothing of itself, not even its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from urllib.parse import quote, urlsplit, urlunsplit

from doctor.host import Reader
from doctor.host.readings import as_unicode

SECRET = "<secret>"
SHORTEST_SECRET = 6  # characters; a shorter value is masked in its own variable alone

SECRET_WORDS = re.compile(r"TOKEN|KEY|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|PRIVATE", re.IGNORECASE)
USER_VARIABLES = {"USER", "USERNAME", "LOGNAME", "LNAME"}
DOMAIN_VARIABLES = {"USERDOMAIN", "USERDOMAIN_ROAMINGPROFILE", "USERDNSDOMAIN"}
HOST_VARIABLES = {"COMPUTERNAME", "HOSTNAME", "LOGONSERVER"} | DOMAIN_VARIABLES

# Names that tell nothing of anybody; what stands for a server in paths of Windows' own; and folders that checks look for by name: /dev/nvidia0 is no user's.
NOBODYS_NAMES = {"public", "default", "default user", "all users", "shared", "root", "user", "admin"}
FIXED_FOLDERS = {"dev", "proc", "usr", "opt", "lib", "bin", "etc", "var", "mnt", "tmp", "temp"}
PRODUCT_FOLDERS = {"windows", "system32", "programdata", "python", "git", "cuda", "nvidia", "torch", "aios"}
NO_SERVERS = {"?", ".", "wsl$", "wsl.localhost"}
NOT_REDACTED = NOBODYS_NAMES | NO_SERVERS | FIXED_FOLDERS | PRODUCT_FOLDERS

CREDENTIALS = re.compile(r"(?<=://)[^/\s\"'<>|]*@")
CREDENTIALS_OF_A_PROXY = re.compile(r"[^\s/;=]*@")  # which may stand without a scheme
SECRET_IN_QUERY = re.compile(
    rf"([?&][^=&\s]{{0,60}}(?:{SECRET_WORDS.pattern}|SIG)[^=&\s]{{0,60}}=)[^&\s\"'#]+", re.IGNORECASE
)
SETTING = re.compile(
    r"^([ \t]*[\"']?([\w.-]+)[\"']?[ \t]*[=:][ \t]*)(\S.*)$", re.MULTILINE
)  # in a file of settings

# A name's place: below the folder of all users, of an organization's OneDrive, at the beginning of a network path.
NAMED = r"([\\/]users[\\/]+|[\\/]home/|[\\/]onedrive - |(?:^|(?<=[\s;=\"']))\\\\(?:\\\\)?)"
NAME = r"[^\\/:;\"'<>|\r\n]+"
NAMED_IN_PATH = re.compile(rf"{NAMED}({NAME})", re.IGNORECASE)
NAMED_IN_TEXT = re.compile(rf"{NAMED}({NAME}(?=[\\/])|[^\\/:;\"'<>|\s]+)", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Does the name of a variable or setting say that its value is a secret?"""
    return SECRET_WORDS.search(name) is not None


def disguise(name: str, word: str) -> str:
    """`word` over and over, in the shape of `name`: for "user", "Zoë B" becomes "usü e"."""
    letters = cycle(word)
    shape = as_unicode(name)
    return "".join("ü" if not c.isascii() else next(letters) if c.isalnum() else c for c in shape)


def _spellings(name: str, word: str) -> Iterator[tuple[str, str]]:
    """How a name occurs in paths, each with its disguise: as it is, in a URL, as the short name that Windows makes."""
    hidden = disguise(name, word)
    yield name, hidden
    yield quote(name), quote(hidden)
    for number in range(1, 5):
        yield _short(name, number), _short(hidden, number)


def _short(name: str, number: int) -> str:
    return re.sub(r"[ .]", "", name)[:6].upper() + f"~{number}"


@dataclass(frozen=True)
class Redactor:
    """Redacts one machine's values. `users` and `hosts` are names; `secrets` are values that must appear nowhere."""

    users: tuple[str, ...]
    hosts: tuple[str, ...]
    secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, host: Reader) -> Redactor:
        """Knows this machine's user, home folder, host name and the values of variables that are secrets."""
        identity = host.identity
        values = [host.variable(name) or "" for name in host.variable_names("") if is_secret(name)]
        return cls(
            users=(identity.user, identity.path(identity.home).name),
            hosts=(identity.host_name, identity.host_name.partition(".")[0]),
            secrets=tuple(sorted((v for v in values if len(v) >= SHORTEST_SECRET), key=len, reverse=True)),
        )

    def user(self, name: str) -> str:
        return name if name.casefold() in NOT_REDACTED else disguise(name, "user")

    def host(self, name: str) -> str:
        return disguise(name, "host")

    def text(self, value: str) -> str:
        """Any text with paths in it: this machine's names are found as a part of a path, or as the end of one."""
        value = as_unicode(value)
        for secret in self.secrets:
            value = value.replace(secret, SECRET)
        value = SECRET_IN_QUERY.sub(rf"\1{SECRET}", CREDENTIALS.sub("", value))
        if self._disguises:
            value = self._part_of_a_path.sub(lambda match: self._disguises[match[0].casefold()], value)
        return NAMED_IN_TEXT.sub(self._other_name, value)

    def path(self, value: str) -> str:
        """A path, or several in a row, where a name at the end may have spaces."""
        return NAMED_IN_PATH.sub(self._other_name, self.text(value))

    def settings(self, value: str) -> str:
        """The text of a file. Lines of it may be settings, whose names tell their types."""
        return self.text(SETTING.sub(lambda match: match[1] + self.variable(match[2], match[3]), value))

    def issuer(self, value: str) -> str:
        """Who signed a certificate: one that somebody made for himself may have his name anywhere in it."""
        for name, word in self._names:
            value = re.sub(rf"\b{re.escape(name)}\b", disguise(name, word), value, flags=re.IGNORECASE)
        return self.text(value)

    def url(self, value: str) -> str:
        """An address without credentials, query and fragment."""
        scheme, place, path, _, _ = urlsplit(value)
        return self.path(urlunsplit((scheme, place, path, "", "")))

    def variable(self, name: str, value: str) -> str:
        """The value of an environment variable or registry value, whose type its name tells."""
        if is_secret(name):
            return SECRET
        if name.upper() in USER_VARIABLES:
            return self.user(value)
        if name.upper() in HOST_VARIABLES:
            return self.host(value)
        if "PROXY" in name.upper():
            value = CREDENTIALS_OF_A_PROXY.sub("", value)
        return self.path(value)

    @cached_property
    def _names(self) -> list[tuple[str, str]]:
        """This machine's names that tell something, each with the word that stands for it."""
        names = [(name, "host") for name in self.hosts] + [(name, "user") for name in self.users]
        return [(as_unicode(n), word) for n, word in names if n and n.casefold() not in NOT_REDACTED]

    @cached_property
    def _disguises(self) -> dict[str, str]:
        return {
            spelling.casefold(): hidden
            for name, word in self._names
            for spelling, hidden in _spellings(name, word)
        }

    @cached_property
    def _part_of_a_path(self) -> re.Pattern[str]:
        longest_first = sorted(self._disguises, key=len, reverse=True)
        names = "|".join(map(re.escape, longest_first))
        return re.compile(rf"(?:(?<=[\\/_])|(?<=\w-))(?:{names})(?![^\W_])", re.IGNORECASE)

    def _other_name(self, match: re.Match[str]) -> str:
        before, name = match.groups()
        known = name in self._disguises.values()
        return before + (name if known else self.user(name))
