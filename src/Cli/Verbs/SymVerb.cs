// `ktrace sym`: addresses to names and lines, without a target. Its start is most of its time for one address, so arguments are read by hand
// and text is written as the bytes that the file has.
using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Kernel;

namespace KTrace.Cli.Verbs;

/// <summary><c>ktrace sym --vmlinux FILE [--format text|addr2line|json] [ADDRESS…]</c>. Exit: 0 all found, 1 some not found, 2 error.</summary>
internal static class SymVerb
{
    private const string Usage = """
        usage: ktrace sym --vmlinux FILE [--symbols MAP] [--debug-dir DIR] [--format text|addr2line|json] [--json] [ADDRESS...]

        Names the function, file and line of each ADDRESS in FILE, inlined calls first. FILE is a vmlinux, a bzImage (with its System.map beside it), a System.map,
        or a module: .ko, .ko.xz, .ko.zst, .ko.gz. Debug information in a file of its own is found by build id and .gnu_debuglink.
        An ADDRESS is hexadecimal with or without 0x, or a name:
          name, name+0x10, name+0x10/0x80   a function or variable; also one that was inlined everywhere: every place of it
          file.c:name                       the static one of that file
          file.c:123                        where that line begins
          'irq_*', '/^irq_(en|dis)able$/'   every function that matches a glob or regular expression
        Without ADDRESS they are read from standard input, one a line, and answered as soon as the input pauses.

        --symbols MAP        System.map or /proc/kallsyms, for a FILE without symbols
        --debug-dir DIR      where separate debug files are, instead of /usr/lib/debug; may be given several times
        --format addr2line   exactly the lines of binutils' addr2line -a -f -i -e FILE
        --json               one JSON object a line

        exit status: 0 all were found, 1 some were not, 2 error (also: FILE has no DWARF, so that symbols alone answered)
        """;

    /// <summary>Runs the verb with the arguments behind its name.</summary>
    public static int Run(string[] arguments, Stream input, Stream output, TextWriter errors)
    {
        if (!TryParse(arguments, out var vmlinux, out var format, out var addresses, out var symbols, out var debugFolders, out var problem))
        {
            if (problem.Length == 0)
            {
                output.Write(System.Text.Encoding.UTF8.GetBytes(Usage + "\n"));
                return 0;
            }

            errors.WriteLine($"ktrace sym: {problem} (ktrace sym --help lists the options)");
            return 2;
        }

        try
        {
            var opened = ObjectFile.Open(vmlinux, new ObjectFileOptions(symbols, debugFolders.Count > 0 ? debugFolders : null));
            var answers = SymAnswers.Create(opened.File, format);
            foreach (var lack in opened.Lacks)
            {
                errors.WriteLine($"ktrace sym: {vmlinux}: {lack}");
            }

            var session = new SymSession(answers, output, errors);
            var status = addresses.Count > 0 ? session.Answer(addresses) : session.AnswerAll(input);
            // What the symbols know was said, but it is not what was asked for.
            return answers.HasDwarf ? status : 2;
        }
        catch (MalformedFileException e)
        {
            errors.WriteLine($"ktrace sym: {e.Message} (give the vmlinux of the kernel's -dbg package, or a module's .ko)");
            return 2;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            errors.WriteLine($"ktrace sym: {e.Message}");
            return 2;
        }
    }

    private static bool TryParse(string[] arguments, out string vmlinux, out string format, out List<string> addresses, out string? symbols, out List<string> debugFolders, out string problem)
    {
        symbols = null;
        debugFolders = [];
        vmlinux = "";
        format = "text";
        addresses = [];
        problem = "";
        var onlyAddresses = false;
        for (var i = 0; i < arguments.Length; i++)
        {
            var (argument, value) = (arguments[i], (string?)null);
            if (onlyAddresses || !argument.StartsWith('-'))
            {
                addresses.Add(argument);
                continue;
            }

            if (argument.IndexOf('=') is var equals and > 0)
            {
                (argument, value) = (argument[..equals], argument[(equals + 1)..]);
            }

            switch (argument)
            {
                case "--":
                    onlyAddresses = true;
                    break;
                case "-h" or "--help":
                    return false;
                case "--json":
                    format = "json";
                    break;
                case "--vmlinux" or "-e" or "--format" or "--symbols" or "--debug-dir":
                    if (value is null && ++i >= arguments.Length)
                    {
                        problem = $"{argument} needs a value";
                        return false;
                    }

                    value ??= arguments[i];
                    switch (argument)
                    {
                        case "--format":
                            format = value;
                            break;
                        case "--symbols":
                            symbols = value;
                            break;
                        case "--debug-dir":
                            debugFolders.Add(value);
                            break;
                        default:
                            vmlinux = value;
                            break;
                    }

                    break;
                default:
                    problem = $"unknown option {argument}";
                    return false;
            }
        }

        problem = vmlinux.Length == 0 ? "--vmlinux FILE is needed"
            : format is not ("text" or "addr2line" or "json") ? $"--format {format}: text, addr2line and json exist"
            : "";
        return problem.Length == 0;
    }
}
