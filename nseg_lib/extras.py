"""The command that installs an extra, which depends on how nseg itself was installed."""

from __future__ import annotations

import json
from importlib import metadata
from urllib.parse import urlparse
from urllib.request import url2pathname

from nseg_lib.provenance import PROJECT


def install_command(extra: str) -> str:
    """Such as ``pip install 'nseg[train]'``, for an extra of ``pyproject.toml``.

    If nseg came from a checkout, a wheel or a repository, pip has noted that in
    ``direct_url.json`` (PEP 610). Without this file, nseg came from an index.
    """
    try:
        written = metadata.distribution("nseg").read_text("direct_url.json")
        origin = json.loads(written) if written else None
    except (metadata.PackageNotFoundError, ValueError):
        origin = None
        if (PROJECT / "pyproject.toml").is_file():  # the source alone, never installed
            origin = {"url": PROJECT.as_uri(), "dir_info": {"editable": True}}
    if not isinstance(origin, dict) or "url" not in origin:
        return f"pip install 'nseg[{extra}]'"
    url = str(origin["url"])
    if "dir_info" in origin:
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return f"pip install {editable}'{url2pathname(urlparse(url).path)}[{extra}]'"
    if versions := origin.get("vcs_info"):
        url = f"{versions['vcs']}+{url}@{versions['commit_id']}"
    return f"pip install 'nseg[{extra}] @ {url}'"
