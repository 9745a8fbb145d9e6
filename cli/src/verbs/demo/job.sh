# What each job of the demonstration runs, in a checkout of the commit. It takes a lock for the commit and the
# job, and writes down when it starts and ends: so that the jobs themselves say whether one ran twice.
runs=@RUNS@
key=$POINTSMAN_COMMIT/$POINTSMAN_JOB
lock=$runs/locks/$POINTSMAN_COMMIT-$POINTSMAN_JOB
# A process id may be used again: with its start it names one process.
me="$$ $(cut -d' ' -f22 "/proc/$$/stat")"
say() {
    echo "$1 $key $POINTSMAN_ATTEMPT_NUMBER $(git rev-parse 'HEAD^{tree}') $2" >>"$runs/lines"
}
if ! mkdir -m 777 "$lock" 2>/dev/null; then
    # Without an owner it was taken this very moment, and both are empty.
    pid= since=
    read -r pid since 2>/dev/null <"$lock/owner" || true
    if [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null || true)" = "$since" ]; then
        say overlap 0
        exit 99
    fi
    # Whoever had it was killed, and could not let go of it.
    say died 0
    # It may have been another user's.
    rm -f "$lock/owner"
fi
echo "$me" >"$lock/owner"
say start 0
finish() {
    code=$?
    trap - EXIT TERM
    say end "$code"
    rm -rf "$lock"
    exit "$code"
}
trap finish EXIT
trap 'exit 143' TERM
sh ./check
