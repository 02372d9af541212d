using System.CommandLine;
using KTrace.Boot;
using KTrace.Debugger;
using KTrace.Rsp;
using KTrace.Symbols;
using KTrace.Tui.Views;

namespace KTrace.Cli;

/// <summary>
/// Runs the verb and turns every declared exception into one line for what and one for the remedy. No stack trace of ours is ever printed.
/// Exit codes: 0 done, 1 differs or not found, 2 error, 130 Ctrl-C, 143 SIGTERM.
/// </summary>
internal static class CommandRunner
{
    public const int Success = 0;
    public const int Different = 1;
    public const int Error = 2;

    public static async Task<int> RunAsync(RootCommand root, string[] args)
    {
        using var signals = new Signals();
        try
        {
            var parsed = root.Parse(args);
            if (parsed.Errors.Count > 0)
            {
                foreach (var error in parsed.Errors)
                {
                    Console.Error.WriteLine("ktrace: " + TerminalText.Sanitize(error.Message));
                }

                var verb = parsed.CommandResult.Command is RootCommand ? "" : parsed.CommandResult.Command.Name + " ";
                Console.Error.WriteLine($"try: ktrace {verb}--help");
                return Error;
            }

            var code = await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, signals.Token);
            return signals.ExitCode ?? code;
        }
        catch (OperationCanceledException) when (signals.ExitCode is not null)
        {
            return signals.ExitCode.Value;
        }
        catch (Exception e) when (Explain(e) is { } explanation)
        {
            return Fail(explanation.Message, explanation.Remedy);
        }
    }

    /// <summary>Prints an error as every verb does, and gives the exit code for it.</summary>
    public static int Fail(string message, string? remedy = null)
    {
        Console.Error.WriteLine("ktrace: " + TerminalText.Sanitize(message));
        if (remedy is not null)
        {
            Console.Error.WriteLine("try: " + TerminalText.Sanitize(remedy));
        }

        return Error;
    }

    private static (string Message, string? Remedy)? Explain(Exception e) => e switch
    {
        BootException boot => (boot.Message, boot.Remedy),
        TargetException target => (target.Message, target.Remedy),
        MalformedFileException malformed => (malformed.Message, null),
        RspException rsp => (rsp.Message, null),
        FileNotFoundException missing => ($"{missing.FileName}: no such file", null),
        DirectoryNotFoundException or UnauthorizedAccessException => (e.Message, null),
        IOException io => (io.Message, null),
        AggregateException { InnerException: { } inner } => Explain(inner),
        _ => null,
    };
}
