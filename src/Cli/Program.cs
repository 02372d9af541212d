using System.CommandLine;
using KTrace.Cli;
using KTrace.Cli.Verbs;

// Only the verb that was asked for is built: a symbol question should not pay for the options of a boot.
var verb = args.Length > 0 ? VerbTable.Find(args[0]) : null;
var root = new RootCommand("KTrace: boot a Linux kernel in QEMU, ask how it got to a function, keep the answer, compare it with another run.");
foreach (var create in verb is null ? VerbTable.All.Select(v => v.Create) : [verb.Create])
{
    root.Subcommands.Add(create());
}

return await CommandRunner.RunAsync(root, args);
