"""Removes personal data from a recording or a report, depending on the type of each value.

Names of users and hosts are replaced consistently with words of the same length and shape. A path keeps its length, spaces
and non-ASCII letters, so that the checks judge a recording as they judge the machine. A secret is masked completely,
including its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from urllib.parse import quote, urlsplit, urlunsplit

from doctor.host import Reader, addresses
from doctor.host.addresses import NAMES_HOSTS
from doctor.host.readings import as_unicode

SECRET = "<secret>"
SHORTEST_SECRET = 6  # characters; a shorter value is masked only in its own variable

SECRET_WORDS = re.compile(r"TOKEN|KEY|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|PRIVATE", re.IGNORECASE)
USER_VARIABLES = {"USER", "USERNAME", "LOGNAME", "LNAME"}
DOMAIN_VARIABLES = {"USERDOMAIN", "USERDOMAIN_ROAMINGPROFILE", "USERDNSDOMAIN"}
HOST_VARIABLES = {"COMPUTERNAME", "HOSTNAME", "LOGONSERVER"} | DOMAIN_VARIABLES

# Names that are kept: of accounts on every machine, of folders that checks look for, and of the servers in special paths
GENERIC_NAMES = {"public", "default", "default user", "all users", "shared", "root", "user", "admin"}
FIXED_FOLDERS = {"dev", "proc", "usr", "opt", "lib", "bin", "etc", "var", "mnt", "tmp", "temp"}
PRODUCT_FOLDERS = {"windows", "system32", "programdata", "python", "git", "cuda", "nvidia", "torch", "aios"}
NOT_SERVERS = {"?", ".", "wsl$", "wsl.localhost"}
NOT_REDACTED = GENERIC_NAMES | NOT_SERVERS | FIXED_FOLDERS | PRODUCT_FOLDERS

CREDENTIALS = re.compile(r"(?<=://)[^/\s\"'<>|]*@")
# The address of a proxy may have no scheme
CREDENTIALS_OF_A_PROXY = re.compile(r"[^\s/;=]*@")
SECRET_IN_QUERY = re.compile(
    rf"([?&][^=&\s]{{0,60}}(?:{SECRET_WORDS.pattern}|SIG)[^=&\s]{{0,60}}=)[^&\s\"'#]+", re.IGNORECASE
)
# A line of a settings file
SETTING = re.compile(r"^([ \t]*[\"']?([\w.-]+)[\"']?[ \t]*[=:][ \t]*)(\S.*)$", re.MULTILINE)

# Where the name of a user or server is: after the folder of all users, after "OneDrive - ", at the start of a network path
NAMED = r"([\\/]users[\\/]+|[\\/]home/|[\\/]onedrive - |(?:^|(?<=[\s;=\"']))\\\\(?:\\\\)?)"
NAME = r"[^\\/:;\"'<>|\r\n]+"
NAMED_IN_PATH = re.compile(rf"{NAMED}({NAME})", re.IGNORECASE)
NAMED_IN_TEXT = re.compile(rf"{NAMED}({NAME}(?=[\\/])|[^\\/:;\"'<>|\s]+)", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether the value of a variable or setting with this name is a secret."""
    return SECRET_WORDS.search(name) is not None


def disguise(name: str, word: str) -> str:
    """Return `word`, repeated in the shape of `name`: "Zoë B" becomes "usü e" for "user"."""
    letters = cycle(word)
    shape = as_unicode(name)
    return "".join("ü" if not c.isascii() else next(letters) if c.isalnum() else c for c in shape)


def _spellings(name: str, word: str) -> Iterator[tuple[str, str]]:
    """The spellings of a name in paths, each with its replacement: plain, in a URL, as a short name of Windows."""
    hidden = disguise(name, word)
    yield name, hidden
    yield quote(name), quote(hidden)
    for number in range(1, 5):
        yield _short(name, number), _short(hidden, number)


def _short(name: str, number: int) -> str:
    return re.sub(r"[ .]", "", name)[:6].upper() + f"~{number}"


@dataclass(frozen=True)
class Redactor:
    """Redacts the values of one machine. `users` and `hosts` are names; `secrets` are values to mask everywhere."""

    users: tuple[str, ...]
    hosts: tuple[str, ...]
    secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, host: Reader) -> Redactor:
        """A redactor for this machine's user, home folder, host name and secret variables."""
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
        """Redact text that may contain paths. A name is recognized as a part of a path, or as its end."""
        value = as_unicode(value)
        for secret in self.secrets:
            value = value.replace(secret, SECRET)
        value = addresses.redact(CREDENTIALS.sub("", value), self.host)
        value = SECRET_IN_QUERY.sub(rf"\1{SECRET}", value)
        if self._disguises:
            value = self._part_of_a_path.sub(lambda match: self._disguises[match[0].casefold()], value)
        return NAMED_IN_TEXT.sub(self._other_name, value)

    def path(self, value: str) -> str:
        """Redact a path, or several in a row, where the last name may contain spaces."""
        return NAMED_IN_PATH.sub(self._other_name, self.text(value))

    def settings(self, value: str) -> str:
        """Redact the text of a file. Its lines may be settings, redacted by their names."""
        return self.text(SETTING.sub(lambda match: match[1] + self.variable(match[2], match[3]), value))

    def issuer(self, value: str) -> str:
        """Redact the issuer of a certificate. A self-made certificate may contain the user's name anywhere."""
        for name, word in self._names:
            value = re.sub(rf"\b{re.escape(name)}\b", disguise(name, word), value, flags=re.IGNORECASE)
        return self.text(value)

    def url(self, value: str) -> str:
        """Redact a URL: without credentials, query and fragment."""
        scheme, place, path, _, _ = urlsplit(value)
        return self.path(urlunsplit((scheme, place, path, "", "")))

    def variable(self, name: str, value: str) -> str:
        """Redact the value of an environment variable or registry value, depending on its name."""
        if is_secret(name):
            return SECRET
        if name.upper() in USER_VARIABLES:
            return self.user(value)
        if name.upper() in HOST_VARIABLES:
            return self.host(value)
        if "PROXY" in name.upper():
            value = CREDENTIALS_OF_A_PROXY.sub("", value)
        if NAMES_HOSTS.search(name) and "://" not in value:
            value = addresses.redact_hosts(value, self.host)
        return self.path(value)

    @cached_property
    def _names(self) -> list[tuple[str, str]]:
        """The names to redact, each with the word to replace it with."""
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
