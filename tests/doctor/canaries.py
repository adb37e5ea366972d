"""A user's home folder full of canaries: secrets, private hosts and names, in every variable and setting that aios reads."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Variables whose values are secrets as a whole
SECRETS = {
    "HF_TOKEN": "hf_CanaryTokenValue",
    "WANDB_API_KEY": "wandbcanary00",
    "OPENAI_API_KEY": "sk-canaryopen",
    "GITHUB_TOKEN": "ghp_canaryhub",
    "AWS_SECRET_ACCESS_KEY": "awscanary/secret",
    "AZURE_CLIENT_SECRET": "azurecanary~1",
    "UV_INDEX_WREN_PASSWORD": "uvcanarypass",
    "UV_PUBLISH_TOKEN": "uvpubcanary",
    "TWINE_PASSWORD": "twinecanary",
    "JUPYTER_TOKEN": "jupycanary",
    "COMET_API_KEY": "cometcanary",
    "MY_PASSWORD": "cnry1xx",
    "SESSION_COOKIE": "cookiecanary",
    "NPM_AUTH": "npmcanary",
    "SMTP_CREDENTIALS": "smtpcanary",
    "DEPLOY_PRIVATE": "deploycanary",
    "CIVITAI_API_TOKEN": "civitcanary",
}
# Variables with secrets and private names in them
ADDRESSES = {
    "PIP_INDEX_URL": ("https://me:CanaryPass@pip.aviary/tok3nInPath/simple/", "CanaryPass", "pip.aviary", "tok3nInPath"),
    "PIP_EXTRA_INDEX_URL": (
        "https://pypi.aviary/tok3nOfExtra/simple?k=0therName#fragm3nt", "pypi.aviary", "tok3nOfExtra", "0therName",
        "fragm3nt",
    ),
    "PIP_TRUSTED_HOST": ("coop.aviary:8443", "coop.aviary"),
    "UV_INDEX": ("wrens=https://uvindex.aviary/uvPathTok3n/simple", "uvindex.aviary", "uvPathTok3n"),
    "UV_INSECURE_HOST": ("uv.aviary", "uv.aviary"),
    "HTTPS_PROXY": ("http://me:Pr0xyPass@127.0.0.1:9", "Pr0xyPass"),
    "HTTP_PROXY": ("bare-proxy:3128", "bare-proxy"),
    "NO_PROXY": ("127.0.0.1,.no-proxy.aviary", "no-proxy.aviary"),
    "HF_ENDPOINT": ("https://hf.aviary/tok3nOfEndpoint", "hf.aviary", "tok3nOfEndpoint"),
    "DATABASE_URL": ("postgres://u:dbPassCanary@db.aviary/x", "dbPassCanary", "db.aviary"),
    "AIOS_PYTORCH_INDEX": (
        "https://who:MirrorPass@mirror.aviary/m1rrorTok3n/whl", "MirrorPass", "mirror.aviary", "m1rrorTok3n",
    ),
    "CONDA_CHANNEL_ALIAS": (
        "https://conda.anaconda.org/t/ca-1234-nary/main https://channel.aviary/x", "ca-1234-nary", "channel.aviary",
    ),
    "GIT_PROXY_COMMAND": ("git@ssh.aviary:team-wren/proxy", "ssh.aviary", "team-wren"),
}  # fmt: skip
PIP_CONF = (
    "[global]\nindex-url = https://you:IniPass@ini.aviary/iniTok3n/simple\ntrusted-host = trusted.aviary\n"
)
CANARIES = (
    *SECRETS.values(),
    *(canary for _, *canaries in ADDRESSES.values() for canary in canaries),
    *("IniPass", "ini.aviary", "iniTok3n", "trusted.aviary"),
    *("Zoë Canary", "Zo%C3%AB", "Kanarienvogel"),
)
# Those of them that no output may have, not even one for the user alone
CREDENTIALS = (
    *SECRETS.values(),
    *("CanaryPass", "Pr0xyPass", "dbPassCanary", "MirrorPass", "ca-1234-nary", "IniPass"),
)


@dataclass(frozen=True)
class Home:
    """The home folder of a user, with variables and settings that contain canaries."""

    folder: Path

    def variables(self) -> dict[str, str]:
        others = self.folder.parent / "Kanarienvogel"
        return {
            "PATH": f"{os.environ['PATH']}{os.pathsep}{others / 'bin'}",
            **SECRETS,
            **{name: text for name, (text, *_) in ADDRESSES.items()},
            "HOME": str(self.folder),
            "USER": "Zoë Canary",
            "LOGNAME": "Zoë Canary",
            "AIOS_HOME": str(self.folder / "state"),
            "HF_HOME": str(others / "hf"),
            "CUDA_HOME": str(others / "cuda"),
            "PYTHONUTF8": "1",
        }

    def run(self, *arguments: str) -> str:
        """What a command prints, and the file that it writes."""
        command = [sys.executable, str(ROOT / "aios.py"), *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        )
        written = self.folder / "machine.json"
        return done.stdout + done.stderr + (written.read_text("utf-8") if written.exists() else "")


def make_home(folder: Path) -> Home:
    """Make the home folder of Zoë Canary in a folder, with pip's settings."""
    home = folder / "home" / "Zoë Canary"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_text(PIP_CONF, encoding="utf-8")
    return Home(home)


def content_of(folder: Path) -> str:
    """The content of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)
