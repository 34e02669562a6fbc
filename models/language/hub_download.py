"""Downloads one model from a Hugging Face hub into a directory: a process of its own, so that it can be ended at any
moment and its libraries never load where models are only looked up. Knows nothing of DATA_DIR.

Speaks JSON lines on stdout: {"total": bytes, "revision", "licence", "sums": {file: sha256}}, then {"done": true} or
{"error": sentence, "disk_full": bool}. Ends when its stdin does. Files already whole in the directory are kept.
"""

import argparse
import errno
import json
import os
import sys
import threading
from typing import Any

WEIGHTS = ("*.safetensors", "*.gguf")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("repo")
    parser.add_argument("directory")
    parser.add_argument("--revision")
    parser.add_argument("--endpoint")
    parser.add_argument("--pattern", action="append", required=True)
    asked = parser.parse_args()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
        from huggingface_hub.utils._paths import filter_repo_objects
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError:
        return _failed("downloading from the Hugging Face hub needs more packages: pip install 'inkwell[torch]'")

    disable_progress_bars()
    where = f"the hub at {asked.endpoint}" if asked.endpoint else "the Hugging Face hub"
    try:
        info = HfApi(endpoint=asked.endpoint).model_info(asked.repo, revision=asked.revision, files_metadata=True)
        by_name = {sibling.rfilename: sibling for sibling in info.siblings or []}
        matching = filter_repo_objects(by_name, allow_patterns=asked.pattern, ignore_patterns="consolidated*")
        wanted = [name for name in matching if "/" not in name or name in asked.pattern]  # folders hold other formats
        if not list(filter_repo_objects(wanted, allow_patterns=list(WEIGHTS))):
            return _failed(f"{asked.repo} holds no safetensors or GGUF weights: choose another model")
        large = {name: by_name[name].lfs for name in wanted}
        _say(
            total=sum(by_name[name].size or 0 for name in wanted),
            revision=info.sha,
            licence=str(getattr(info.card_data, "license", None) or ""),
            sums={name: stored.sha256 for name, stored in large.items() if stored},
        )
        snapshot_download(
            asked.repo,
            revision=info.sha,
            local_dir=asked.directory,
            allow_patterns=wanted,
            endpoint=asked.endpoint,
        )
    except GatedRepoError:
        return _failed(f"{asked.repo} asks for an agreement: accept it on its page and log in with `hf auth login`")
    except RepositoryNotFoundError:
        return _failed(f"{where} knows no model {asked.repo}: check its name, or log in with `hf auth login`")
    except RevisionNotFoundError:
        return _failed(f"{asked.repo} has no revision {asked.revision}: check it")
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        return _failed(f"{where} can't be used ({_first_line(error)}): check the network and try again")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _failed("the disk is full", disk_full=True)
        return _failed(f"{where} can't be reached ({_first_line(error)}): check the network and try again")
    except Exception as error:  # the library's HTTP client has its own tree of connection errors
        return _failed(f"{where} can't be reached ({_first_line(error)}): check the network and try again")
    _say(done=True)
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


def _say(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def _failed(sentence: str, *, disk_full: bool = False) -> int:
    _say(error=sentence, disk_full=disk_full)
    return 1


if __name__ == "__main__":
    sys.exit(main())
