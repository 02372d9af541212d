using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using KTrace.Boot;
using KTrace.Tui.Views;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;

namespace KTrace.Cli.Verbs;

/// <summary>ktrace initramfs build|list|extract|repack.</summary>
internal static class InitramfsVerb
{
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        WriteIndented = true };

    public static Command Create() =>
        new("initramfs", "The guest's first file system: build one, look into one, take one apart and put it together again.")
    {
        CreateBuild(),
        CreateList(),
        CreateExtract(),
        CreateRepack(),
    };

    private static Command CreateBuild()
    {
        var scenario = new Argument<string?>("scenario") { Arity = ArgumentArity.ZeroOrOne,
            Description = "A scenario file whose initramfs to build; the options then change it." };
        var kernel = new Option<string?>("--kernel", "-k") { HelpName = "release",
            Description = "Whose modules to take: a release, or stock." };
        var tree = new Option<string?>("--tree") { HelpName = "dir", Description = "A kernel build tree whose modules to take." };
        var modules = new Option<string[]>("--module", "-m") { HelpName = "name",
            Description = "A module to load; what it needs comes along. May be repeated." };
        var steps = new Option<string[]>("--step") { HelpName = "step",
            Description = $"What init does, in order: {string.Join(", ", InitScript.Steps.Select(step => step.Name))}. May be repeated." };
        var init = new Option<string?>("--init") { HelpName = "file", Description = "A file to use as /init instead." };
        var add = new Option<string[]>("--add") { HelpName = "file:path",
            Description = "A file to add, and its path in the guest. May be repeated." };
        var busybox = new Option<string?>("--busybox") { HelpName = "file",
            Description = "A static busybox other than this system's." };
        var output = new Option<string?>("--output", "-o") { HelpName = "file",
            Description = "The file to write; by default initramfs.cpio.gz." };
        var json = new Option<bool>("--json") { Description = "Print path, hash and modules as JSON." };
        var command = new Command(
            "build",
            """
            Build an initramfs: busybox, kernel modules, files and an /init. The same input gives the same bytes.

            Example: ktrace initramfs build --kernel stock --module e1000e --step network --step shell -o net.cpio.gz
            """)
        {
            scenario, kernel, tree, modules, steps, init, add, busybox, output, json,
        };
        command.SetAction((result, cancellationToken) => BootProgressLine.RunAsync(async progress =>
        {
            var store = new KernelStore();
            var described = result.GetValue(scenario) is { } path ? ScenarioReader.ReadFile(path) : new Scenario();
            if (described.Initramfs is { File: not null })
            {
                throw new BootException(
                    $"{result.GetValue(scenario)}: its initramfs is a finished file, {described.Initramfs.File}: there is nothing to build");
            }

            var description = described.Initramfs?.Build ?? new InitramfsDescription();
            description = description with
            {
                Modules = [.. description.Modules, .. result.GetValue(modules) ?? []],
                Steps = result.GetValue(steps) is { Length: > 0 } chosen ? [.. chosen] : description.Steps,
                Script = result.GetValue(init) is { } file ? ReadScript(file) : description.Script,
                Files = [.. description.Files, .. (result.GetValue(add) ?? []).Select(ParseAdded)],
                Busybox = result.GetValue(busybox) ?? description.Busybox,
            };
            var choice = result.GetValue(tree) is { } folder ? new KernelChoice { Tree = folder }
                : result.GetValue(kernel) is { } release ? new KernelChoice { Release = release } : described.Kernel;
            if (choice is null && !description.Modules.IsEmpty)
            {
                choice = new KernelChoice { Release = KernelStore.Stock };
            }

            var files = choice is null ? null : store.Resolve(choice);
            var built = await Initramfs.BuildAsync(description, files, result.GetValue(output) ?? "initramfs.cpio.gz", progress,
                cancellationToken).ConfigureAwait(false);
            progress.EndLine();
            if (result.GetValue(json))
            {
                Console.WriteLine(JsonSerializer.Serialize(new { built.Path, built.Size, built.Sha256,
                    modules = built.Modules.AsEnumerable() }, Json));
            }
            else
            {
                Console.WriteLine($"{built.Path}  {BootProgressLine.Bytes(built.Size)}");
                Console.WriteLine($"  sha256   {built.Sha256}");
                Console.WriteLine($"  modules  {(built.Modules.IsEmpty ? "none" : string.Join(", ", built.Modules))}");
            }

            return 0;
        }));
        return command;
    }

    private static Command CreateList()
    {
        var file = new Argument<string>(
            "file") { Description = "An initramfs: cpio archives, plain or compressed, one after the other." };
        var json = new Option<bool>("--json") { Description = "One JSON object a line for each entry." };
        var command = new Command(
            "list",
            """
            List what is in an initramfs, like ls -l.

            Example: ktrace initramfs list /boot/initrd.img
            """)
        {
            file, json,
        };
        command.SetAction((result, cancellationToken) => BootProgressLine.RunAsync(_ =>
        {
            var (entries, parts) = InitramfsFile.List(result.GetRequiredValue(file), cancellationToken);
            using var output = new StreamWriter(Console.OpenStandardOutput()) { NewLine = "\n" };
            foreach (var entry in entries)
            {
                output.WriteLine(result.GetValue(json) ? ToJson(entry) : TerminalText.Sanitize(entry.ToListLine()));
            }

            output.Flush();
            if (parts.Count > 1)
            {
                Console.Error.WriteLine(
                    "parts: " + string.Join(", ",
                    parts.Select(part => string.Create(CultureInfo.InvariantCulture,
                    $"{part.Compression} at byte {part.Offset}"))));
            }

            return Task.FromResult(0);
        }));
        return command;
    }

    private static Command CreateExtract()
    {
        var file = new Argument<string>("file") { Description = "An initramfs." };
        var folder = new Argument<string>("dir") { Description = "A folder that does not exist yet, or is empty." };
        var command = new Command(
            "extract",
            """
            Extract an initramfs into a folder. Nothing is written outside the folder; device nodes and owners, which need root, go into a
            list beside it (DIR.cpio-list) that repack reads.

            Example: ktrace initramfs extract initramfs.cpio.gz tree
            """)
        {
            file, folder,
        };
        command.SetAction((result, cancellationToken) => BootProgressLine.RunAsync(_ =>
        {
            var count = CpioFolder.Extract(result.GetRequiredValue(file), result.GetRequiredValue(folder), cancellationToken);
            Console.WriteLine($"{count} entries in {result.GetRequiredValue(folder)}");
            return Task.FromResult(0);
        }));
        return command;
    }

    private static Command CreateRepack()
    {
        var folder = new Argument<string>("dir") { Description = "The folder to pack, usually one that extract made." };
        var output = new Option<string>("--output", "-o") { HelpName = "file", Description = "The initramfs to write.",
            Required = true };
        var command = new Command(
            "repack",
            """
            Pack a folder into an initramfs (newc, gzip). Everything belongs to root and has time 0, except what DIR.cpio-list says.

            Example: ktrace initramfs repack tree -o changed.cpio.gz
            """)
        {
            folder, output,
        };
        command.SetAction((result, cancellationToken) => BootProgressLine.RunAsync(async _ =>
        {
            var archive = CpioFolder.Pack(result.GetRequiredValue(folder));
            var built = await Initramfs.WriteAsync(archive, result.GetRequiredValue(output), cancellationToken: cancellationToken)
                .ConfigureAwait(false);
            Console.WriteLine($"{built.Path}  {archive.Count} entries, {BootProgressLine.Bytes(built.Size)}");
            Console.WriteLine($"  sha256   {built.Sha256}");
            return 0;
        }));
        return command;
    }

    private static AddedFile ParseAdded(string text)
    {
        var colon = text.LastIndexOf(':');
        return colon > 0 && colon < text.Length - 1
            ? new AddedFile(text[..colon], text[(colon + 1)..])
            : throw new BootException($"--add {text}: is FILE:PATH, such as --add strace:/bin/strace");
    }

    private static string ReadScript(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException($"{path}: {e.Message}", inner: e);
        }
    }

    private static string ToJson(CpioEntry entry) => JsonSerializer.Serialize(
        new
        {
            entry.Name,
            mode = entry.ModeText,
            octal = Convert.ToString(entry.Mode, 8),
            entry.Size,
            links = entry.LinkCount,
            uid = entry.UserId,
            gid = entry.GroupId,
            mtime = entry.ModificationTime,
            target = entry.LinkTarget,
            device = entry.Type is CpioType.CharacterDevice or CpioType.BlockDevice ? $"{entry.DeviceMajor}:{entry.DeviceMinor}"
                : null,
            entry.Archive,
        },
        JsonLine);

    private static readonly JsonSerializerOptions JsonLine = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull,
    };
}
