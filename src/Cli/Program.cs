using KTrace.Cli.Verbs;
using Microsoft.Win32.SafeHandles;

// Trial registration; the composition root replaces it.
if (args is ["sym", ..])
{
    using var input = new FileStream(new SafeFileHandle(0, ownsHandle: false), FileAccess.Read, bufferSize: 0);
    using var output = new FileStream(new SafeFileHandle(1, ownsHandle: false), FileAccess.Write, bufferSize: 0);
    return SymVerb.Run(args[1..], input, output, Console.Error);
}

return 0;
