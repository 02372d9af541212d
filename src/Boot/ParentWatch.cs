// A child process that must not outlive ktrace, whatever ends ktrace (kill -9 included), and must not end before.
//
// PR_SET_PDEATHSIG would be the obvious way, but it follows the THREAD that forked (prctl(2)): when a thread-pool thread retires,
// the kernel would kill QEMU in mid-session. So a small shell stands between: it holds the read end of a pipe whose only write
// end is ktrace's (close-on-exec, so no other child keeps it open), and when the pipe ends, however that came about, it kills the
// child. The shell has one thread, so for the case that the shell itself is killed, PR_SET_PDEATHSIG from it to the child
// (util-linux's setpriv) is reliable.
//
// setsid(1) puts all of it in a session of its own: the terminal's Ctrl-C, Ctrl-Z and hang-up reach ktrace alone.
namespace KTrace.Boot;

/// <summary>Builds the command that runs a program for as long as standard input (a pipe held by ktrace) stays open.</summary>
internal static class ParentWatch
{
    // $1: a directory to remove once the child has ended ("" for none); the rest: the program and its arguments.
    // Written for POSIX sh. The child gets /dev/null as standard input; output and errors are the caller's pipes.
    private const string Script = """
        dir=$1; shift
        exec 3<&0
        if command -v setpriv >/dev/null 2>&1; then set -- setpriv --pdeathsig KILL "$@"; fi
        "$@" </dev/null 3<&- &
        child=$!
        exec 1>&- 2>/dev/null
        { read -r order <&3; kill -KILL "$child"; } &
        watcher=$!
        exec 3<&-
        wait "$child"; code=$?
        kill -KILL "$watcher"
        if [ -n "$dir" ]; then rm -rf -- "$dir"; fi
        exit "$code"
        """;

    public const string Program = "setsid";

    public static IEnumerable<string> Arguments(string? removeDirectory, string program, IEnumerable<string> arguments) =>
        ["sh", "-c", Script, "ktrace-watch", removeDirectory ?? "", program, .. arguments];
}
