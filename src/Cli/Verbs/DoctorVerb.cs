using System.CommandLine;
using System.Text.Json;
using KTrace.Boot;
using KTrace.Tui.Views;
using KTrace.Boot.Kernels;

namespace KTrace.Cli.Verbs;

/// <summary>ktrace doctor.</summary>
internal static class DoctorVerb
{
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true };

    public static Command Create()
    {
        var fix = new Option<bool>(
            "--fix") { Description = "Install the missing programs with apt and fetch the stock kernel if there is none." };
        var json = new Option<bool>("--json") { Description = "Print the checks as JSON." };
        var command = new Command(
            "doctor",
            """
            Check what ktrace needs of this machine: programs, QEMU and its gdb stub, disk space, kernels. Exit code 1 if something is missing.

            Example: ktrace doctor --fix
            """)
        {
            fix, json,
        };
        command.SetAction((result, cancellationToken) => BootProgressLine.RunAsync(async output =>
        {
            var store = new KernelStore();
            if (result.GetValue(fix))
            {
                await Programs.InstallAsync(Programs.Missing(), output, cancellationToken).ConfigureAwait(false);
                if (!store.List().Any(kernel => kernel is { Image: not null, Vmlinux: not null }))
                {
                    await store.FetchAsync(null, [], output, cancellationToken: cancellationToken).ConfigureAwait(false);
                }

                output.EndLine();
            }

            var checks = await Health.CheckAsync(store, cancellationToken).ConfigureAwait(false);
            if (result.GetValue(json))
            {
                Console.WriteLine(JsonSerializer.Serialize(
                    checks.Select(check => new { check.Name, level = check.Level.ToString().ToLowerInvariant(), check.Finding,
                    check.Remedy }), Json));
            }
            else
            {
                var width = checks.Max(check => check.Name.Length);
                foreach (var check in checks)
                {
                    var mark = check.Level switch { HealthLevel.Fine => "ok     ", HealthLevel.Note => "note   ",
                        _ => "missing" };
                    Console.WriteLine($"{mark}  {check.Name.PadRight(width)}  {TerminalText.Sanitize(check.Finding)}");
                    if (check.Remedy is not null)
                    {
                        Console.WriteLine($"{new string(' ', 9 + width)}  {TerminalText.Sanitize(check.Remedy)}");
                    }
                }
            }

            return checks.Any(check => check.Level == HealthLevel.Missing) ? 1 : 0;
        }));
        return command;
    }
}
