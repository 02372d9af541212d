using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Stepping;

/// <summary>Steps as gdb does them: the measure for ours.</summary>
internal static class GdbSteps
{
    // `until` at the end of a program's function and the like: what gdb answers with an error ends the sequence.
    private const string Script = """
        import gdb, os, re
        def show(what):
            frame = gdb.selected_frame()
            sal = frame.find_sal()
            print("@@%s %s:%d@%x" % (what, frame.name(), sal.line if sal.symtab else 0, frame.pc()))
        for line in os.environ["STEPS_BEGIN"].split(";"):
            gdb.execute(line, to_string=True)
        show("at")
        names = {"s": "step", "n": "next", "si": "stepi", "ni": "nexti"}
        try:
            for word in os.environ["STEPS"].split():
                name, count, frame, place = re.match(r"([a-z]+)([0-9]*)(?:\^([0-9]+))?(?:=(\S+))?$", word).groups()
                for i in range(int(count or 1)):
                    if frame:
                        gdb.execute("frame " + frame, to_string=True)
                    said = gdb.execute(names.get(name, name) + (" " + place if place else ""), to_string=True)
                    show(name)
                    value = re.search(r"Value returned is \$[0-9]+ = (.*)", said)
                    if value:
                        print("@@value " + value.group(1))
        except gdb.error as e:
            print("## " + str(e))
        gdb.execute("kill")
        """;

    /// <summary>Every step's <c>COMMAND FUNCTION:LINE@ADDRESS</c>; behind a finish <c>value TEXT</c>.</summary>
    /// <param name="begin">gdb commands that lead to the begin, separated by semicolons.</param>
    /// <param name="steps">
    /// Commands, each perhaps with a count, the frame that it means, or a place, which is a line or the address of a name: <c>s20 n5 finish^1 advance=*leaf until=73</c>.
    /// </param>
    public static IReadOnlyList<string> Run(string program, string begin, string steps)
    {
        Skip.IfNot(PeerProgram.IsInstalled("gdb"), "gdb is not installed (./test installs it)");
        using var folder = new ScratchFolder();
        File.WriteAllText(folder.File("steps.py"), Script);
        var output = PeerProgram.Run(
            "env",
            [
                "STEPS_BEGIN=" + begin, "STEPS=" + steps, "gdb", "-q", "-nx", "-batch", "-ex", "set confirm off", "-ex", "set pagination off",
                "-ex", "set debuginfod enabled off", "-x", folder.File("steps.py"), program,
            ]);
        return [.. output.Split('\n').Where(l => l.StartsWith("@@", StringComparison.Ordinal)).Select(l => l[2..])];
    }
}
