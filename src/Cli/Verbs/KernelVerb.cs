using System.CommandLine;
using System.Text.Json;
using KTrace.Boot;
using KTrace.Tui.Views;
using KTrace.Boot.Kernels;

namespace KTrace.Cli.Verbs;

/// <summary>ktrace kernel fetch|list.</summary>
internal static class KernelVerb
{
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true };

    public static Command Create() => new("kernel", "Kernels with their debug symbols: fetch them, list them.")
    {
        CreateFetch(),
        CreateList(),
    };

    private static Command CreateFetch()
    {
        var name = new Argument<string?>("name") { Arity = ArgumentArity.ZeroOrOne,
            Description = "A release (6.1.0-56-amd64), a package (linux-image-rt-amd64), or nothing for the distribution's kernel." };
        var modules = new Option<string[]>("--module", "-m") { HelpName = "name",
            Description = "A module to take along with its debug symbols, beside the usual ones. May be repeated." };
        var json = new Option<bool>("--json") { Description = "Print the files' paths as JSON." };
        var command = new Command(
            "fetch",
            """
            Fetch a kernel, its vmlinux with DWARF and its modules from the distribution's archive into the cache.
            About 930 MB are downloaded and 700 MB stay. An interrupted fetch leaves nothing behind that a later run would use.

            Example: ktrace kernel fetch 6.1.0-56-rt-amd64 --module igb
            """)
        {
            name, modules, json,
        };
        command.SetAction((result, cancellationToken) => BootProgressLine.RunAsync(async output =>
        {
            var store = new KernelStore();
            var missing = Programs.Missing(ProgramUse.Fetch);
            if (missing.Count > 0)
            {
                throw new BootException($"{string.Join(", ", missing.Select(program => program.Name))}: not installed",
                    Programs.InstallCommand(missing));
            }

            var kernel = await store.FetchAsync(result.GetValue(name), result.GetValue(modules) ?? [], output, refresh: true,
                cancellationToken).ConfigureAwait(false);
            output.EndLine();
            if (result.GetValue(json))
            {
                Console.WriteLine(JsonSerializer.Serialize(ToJson(kernel), Json));
            }
            else
            {
                Console.WriteLine(kernel.Release);
                Console.WriteLine($"  image    {kernel.Image}");
                Console.WriteLine($"  vmlinux  {kernel.Vmlinux}");
                Console.WriteLine($"  modules  {kernel.ModulesDirectory ?? "none"}");
            }

            return 0;
        }));
        return command;
    }

    private static Command CreateList()
    {
        var json = new Option<bool>("--json") { Description = "Print the list as JSON." };
        var command = new Command(
            "list",
            """
            List the kernels that can be booted or looked up: in the cache, in /boot and in /usr/lib/debug. Exit code 1 if there are none.

            Example: ktrace kernel list
            """)
        {
            json,
        };
        command.SetAction(result => BootProgressLine.RunAsync(_ =>
        {
            var kernels = new KernelStore().List();
            if (result.GetValue(json))
            {
                Console.WriteLine(JsonSerializer.Serialize(kernels.Select(kernel => new
                {
                    kernel.Release,
                    origin = kernel.Origin.ToString().ToLowerInvariant(),
                    kernel.Image,
                    kernel.Vmlinux,
                    modules = kernel.ModulesDirectory,
                    cached_modules = kernel.CachedModules,
                }), Json));
            }
            else if (kernels.Count == 0)
            {
                Console.Error.WriteLine("no kernels here; ktrace kernel fetch gets the stock one");
            }
            else
            {
                var width = Math.Max(7, kernels.Max(kernel => kernel.Release.Length));
                Console.WriteLine($"{"release".PadRight(width)}  where   image  vmlinux  modules");
                foreach (var kernel in kernels)
                {
                    var modules = kernel.ModulesDirectory is null ? "-" : kernel.CachedModules.Count > 0
                        ? $"{kernel.CachedModules.Count} with debug symbols" : "yes";
                    Console.WriteLine(
                        $"{TerminalText.Sanitize(kernel.Release).PadRight(width)}  {(kernel.Origin == KernelOrigin.Cache ? "cache " : "system")}  "
                        + $"{(kernel.Image is null ? "-    " : "yes  ")}  {(kernel.Vmlinux is null ? "-      " : "yes    ")}  {modules}");
                }
            }

            return Task.FromResult(kernels.Count == 0 ? 1 : 0);
        }));
        return command;
    }

    private static object ToJson(KernelFiles kernel) => new
    {
        kernel.Release,
        kernel.Image,
        kernel.Vmlinux,
        modules = kernel.ModulesDirectory,
        debug_modules = kernel.DebugModulesDirectory,
        kernel.Config,
    };
}
