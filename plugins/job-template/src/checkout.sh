# Makes the job's folder a checkout of exactly the commit that is to be tested, then runs the arguments.
# $1 is how much of the history comes along, 0 all of it; the rest is the command.
# Exit code 75 says that the machinery failed and not what is tested; 70 that what came is not what was
# to be tested.
set -eu
depth=$1
shift
stop() {
    echo "pointsman: $2" >&2
    exit "$1"
}
case ${#POINTSMAN_WORK_COMMIT} in
64) format=sha256 ;;
*) format=sha1 ;;
esac
case $depth in
0) depth= ;;
*) depth=--depth=$depth ;;
esac
git -c init.defaultBranch=main init --quiet --object-format="$format" . ||
    stop 75 "cannot make a repository in $PWD"
git remote add origin "$POINTSMAN_SOURCE_REPO" ||
    stop 75 "cannot name $POINTSMAN_SOURCE_REPO as where the commit comes from"
# A repository on this machine that belongs to the server's user is read by the job's user: git wants to
# be told that this is meant, in a file, as it drops what is said on a command line.
configured=${GIT_CONFIG_GLOBAL-}
case $POINTSMAN_SOURCE_REPO in
/* | file://*)
    git config --file .git/pointsman-global safe.directory "${POINTSMAN_SOURCE_REPO#file://}"
    GIT_CONFIG_GLOBAL=$PWD/.git/pointsman-global
    export GIT_CONFIG_GLOBAL
    ;;
esac
# A password that is missing must fail, not wait for somebody to type it.
GIT_TERMINAL_PROMPT=0 git fetch --quiet --no-tags $depth origin "$POINTSMAN_WORK_COMMIT" ||
    stop 75 "cannot fetch $POINTSMAN_WORK_COMMIT from $POINTSMAN_SOURCE_REPO"
if [ -n "$configured" ]; then GIT_CONFIG_GLOBAL=$configured; else unset GIT_CONFIG_GLOBAL; fi
git -c advice.detachedHead=false checkout --quiet --detach "$POINTSMAN_WORK_COMMIT" ||
    stop 75 "cannot check out $POINTSMAN_WORK_COMMIT"
tree=$(git rev-parse 'HEAD^{tree}')
[ "$tree" = "$POINTSMAN_WORK_TREE" ] ||
    stop 70 "the tree of $POINTSMAN_WORK_COMMIT is $tree, to be tested was $POINTSMAN_WORK_TREE"
exec "$@"
