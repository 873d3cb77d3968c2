#!/usr/bin/env bash
# Installs what test/deploy.test.ts judges the files in deploy/ by, into node_modules/.cache/deploy-tools: Helm, actionlint and
# the reference implementation of Compose by Go, Kubernetes' schemas with their validator by pip. What cannot be had is left
# out, and its tests are skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/node_modules/.cache/deploy-tools
mkdir -p "$tools/bin"

# install NAME PACKAGE@VERSION
install() {
  [ -x "$tools/bin/$1" ] && return
  local made; made=$(mktemp -d)
  if GOBIN=$made go install "$2"; then mv "$made"/* "$tools/bin/$1"; else echo "not installed: $1"; fi
  rm -rf "$made"
}

if command -v go >/dev/null; then
  install actionlint github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
  install compose-spec github.com/compose-spec/compose-go/v2/cmd@v2.16.2
  install helm helm.sh/helm/v4/cmd/helm@v4.3.1
else
  echo 'not installed: actionlint, compose-spec, helm (Go is not here)'
fi
if [ ! -x "$tools/python/bin/kubernetes-validate" ]; then
  python3 -m venv "$tools/python" && "$tools/python/bin/pip" install --quiet kubernetes-validate==1.37.0 ||
    echo 'not installed: kubernetes-validate'
fi
