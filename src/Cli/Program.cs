using System.CommandLine;
using KTrace.Cli;
using KTrace.Cli.Verbs;

// A symbol question is asked thousands of times by scripts and editors: it goes its own way, without the command-line library's start-up.
if (args is ["sym", ..])
{
    using var input = Console.OpenStandardInput();
    using var output = Console.OpenStandardOutput();
    return SymVerb.Run(args[1..], input, output, Console.Error);
}

var dashes = Array.IndexOf(args, "--");
var own = dashes < 0 ? args : args[..dashes];
var behindDashes = dashes < 0 ? [] : args[(dashes + 1)..];

// Only the verb that was asked for is built.
var verb = own.Length > 0 ? VerbTable.Find(own[0]) : null;
var root = new RootCommand(
    """
    KTrace: boot a Linux kernel in QEMU, ask how it got to a function, keep the answer, compare it with another run.

    Begin with:
      ktrace demo                            the whole story on a stock kernel
      ktrace demo --recorded                 the same from a recorded trace, with nothing to install
    """);
foreach (var entry in verb is null ? VerbTable.All : [verb])
{
    var command = entry.Create(behindDashes);
    if (verb is null)
    {
        // The list of verbs has room for a sentence each; the rest and the examples are the verb's own help.
        command.Description = command.Description?.ReplaceLineEndings(" ").Split(". ")[0].TrimEnd('.') + ".";
    }

    root.Subcommands.Add(command);
}

return await CommandRunner.RunAsync(root, own.Length == 0 ? ["--help"] : own);
