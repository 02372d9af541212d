using System.ComponentModel;
using System.Diagnostics;

namespace KTrace.Cli.Sessions;

/// <summary>Asks a QEMU what it is; the answer stands in every trace.</summary>
internal static class QemuVersion
{
    /// <summary>Such as <c>7.2.22</c>; null when the program is missing or says something else.</summary>
    public static async Task<string?> ReadAsync(string program, CancellationToken cancellationToken)
    {
        try
        {
            using var qemu = Process.Start(new ProcessStartInfo(program, ["--version"]) { RedirectStandardOutput = true, RedirectStandardError = true });
            var text = await qemu!.StandardOutput.ReadToEndAsync(cancellationToken);
            await qemu.WaitForExitAsync(cancellationToken);
            return text.Split(' ', '\n') is ["QEMU", "emulator", "version", var version, ..] ? version : null;
        }
        catch (Win32Exception)
        {
            return null;
        }
    }
}
