using KTrace.Boot;

namespace KTrace.Cli.Sessions;

/// <summary>Names the programs that are missing, and installs them when the person agrees.</summary>
internal static class ProvidePrograms
{
    /// <summary>False when somebody was asked and said no.</summary>
    /// <exception cref="BootException">They cannot be installed here; the remedy is the exact command.</exception>
    public static async Task<bool> EnsureAsync(bool yes, RecordingStatus status, CancellationToken cancellationToken)
    {
        var missing = Programs.Missing();
        if (missing.Count == 0)
        {
            return true;
        }

        status.Say("missing programs:");
        foreach (var program in missing)
        {
            status.Say($"  {program.Name,-20} {program.Purpose} (package {program.Package})");
        }

        var command = Programs.InstallCommand(missing);
        if (!yes && !Console.IsInputRedirected && !Console.IsErrorRedirected)
        {
            Console.Error.Write($"install them with `{command}`? [Y/n] ");
            var answer = Console.ReadLine()?.Trim();
            if (answer is null || answer.StartsWith('n') || answer.StartsWith('N'))
            {
                status.Say("nothing was installed; `ktrace demo --recorded` needs none of them");
                return false;
            }
        }

        await Programs.InstallAsync(missing, status, cancellationToken);
        return true;
    }
}
