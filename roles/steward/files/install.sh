#!/bin/sh
# install.sh /opt/steward/<id>: installs steward into that folder from the wheels
# beside this script, offline. Killed at any moment it leaves a folder without
# `.complete`, which counts for nothing and is made anew.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
release=$1
root=$(dirname "$release")

rm -rf "$release"
python3 -m venv "$release"
pip() { "$release/bin/python" -m pip --quiet --disable-pip-version-check install --no-index --no-deps "$@"; }
pip --find-links "$here" --require-hashes --requirement "$here/requirements.lock"
pip "$here"/steward-*.whl
"$release/bin/steward" --version
sync --file-system "$release"
touch "$release/.complete"

# Keep this build and the one in use; a job may still be running from it.
current=$(readlink -f "$root/current" || true)
for old in "$root"/*/; do
  old=${old%/}
  case $old in
    "$release" | "$current" | "$root/current") ;;
    *) rm -rf "$old" ;;
  esac
done
rm -rf "$here"
