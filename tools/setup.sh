#!/usr/bin/env bash
# Installs what the build, the demo or the tests need on Debian 12; does nothing for what is there.
#
#   tools/setup.sh build|demo|test
set -euo pipefail
cd "$(dirname "$0")/.."

stage="${1:?usage: tools/setup.sh build|demo|test}"

# Debian's names of the dependencies in cmake/OstinatoDependencies.cmake, and the tools to build.
packages=(
  cmake ninja-build pkg-config python3-venv
  libfmt-dev libspdlog-dev nlohmann-json3-dev libcli11-dev libhwy-dev
  libpcre2-dev libutf8proc-dev libjpeg62-turbo-dev libpng-dev libgtest-dev libgmock-dev
)
if [[ $stage == test ]]; then
  packages+=(clang-14 clang-format-14 libclang-rt-14-dev python3-dev)
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' \
    || missing+=("$package")
done
if ((${#missing[@]} > 0)); then
  as_root=()
  if ((EUID != 0)); then as_root=(sudo); fi
  echo "setup: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
fi
if [[ $stage == build ]]; then exit 0; fi

# The virtual environment; a stamp of each requirements file says that it is up to date.
venv="${OSTINATO_VENV:-.venv}"
if [[ ! -x "$venv/bin/python" ]]; then
  echo "setup: making $venv with $(python3 --version)"
  python3 -m venv "$venv"
fi
install() { # NAME: requirements/NAME.txt, with pip's further arguments
  local file="requirements/$1.txt" stamp="$venv/.ostinato-$1"
  if cmp -s "$file" "$stamp"; then return; fi
  echo "setup: installing $file"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${@:2}" --requirement "$file"
  cp "$file" "$stamp"
}
install demo --no-deps
if [[ $stage == test ]]; then
  if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    echo "setup: installing torch"
    # By version and before anything that needs it, so that nothing brings in a CUDA build.
    "$venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
  fi
  install test
fi
