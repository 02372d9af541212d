using KTrace.Cli.Verbs;

// Trial registration; the composition root replaces it.
if (args is ["sym", ..])
{
    using var input = Console.OpenStandardInput();
    using var output = Console.OpenStandardOutput();
    return SymVerb.Run(args[1..], input, output, Console.Error);
}

return 0;
