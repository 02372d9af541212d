// A scenario file is YAML; docs of the keys are the properties of Scenario. Strict: what it does not know is an error, so that a
// misspelt key is not a boot without tracepoints. Paths are relative to the file.
using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using KTrace.Boot.Images;
using YamlDotNet.RepresentationModel;

namespace KTrace.Boot.Scenarios;

/// <summary>Reads scenario files.</summary>
public static class ScenarioReader
{
    /// <exception cref="BootException">The file is missing or says something wrong; the message names the line.</exception>
    public static Scenario ReadFile(string path)
    {
        try
        {
            var file = new FileInfo(path);
            if (file.Exists && file.Length > YamlTree.SizeLimit * 4)
            {
                throw new BootException($"{path}: larger than {YamlTree.SizeLimit >> 10} KiB: not a scenario");
            }

            return Read(File.ReadAllText(path), path, file.DirectoryName ?? "/") with { SourceFile = file.FullName };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException(
                $"{path}: {(e is FileNotFoundException or DirectoryNotFoundException ? "there is no such scenario" : e.Message)}",
                inner: e);
        }
    }

    /// <param name="text">The YAML text.</param>
    /// <param name="file">Its name, for messages.</param>
    /// <param name="folder">What relative paths are relative to.</param>
    /// <exception cref="BootException">The text says something wrong; the message names the line.</exception>
    public static Scenario Read(string text, string file, string folder)
    {
        var keys = new MappingReader(YamlTree.Read(text, file), file, "");
        var scenario = new Scenario
        {
            Name = keys.Text("name") ?? Path.GetFileNameWithoutExtension(file),
            Description = keys.Text("description")?.Trim(),
            Kernel = Kernel(keys, folder),
            Initramfs = Initramfs(keys, folder),
            Append = keys.Text("append")?.Trim() ?? "",
            Architecture = Architecture(keys),
            Machine = keys.Text("machine"),
            Cpu = keys.Text("cpu"),
            Memory = Memory(keys),
            Cpus = keys.Number("cpus", 1, 255) ?? 1,
            Nics = keys.Items("nics", "model", NetworkCard),
            Drives = keys.Items("drives", "file", drive => Drive(drive, folder)),
            Cdrom = Absolute(keys.Text("cdrom"), folder),
            Bios = Absolute(keys.Text("bios"), folder),
            QemuArgs = keys.Texts("qemu-args"),
            Tracepoints = keys.Texts("tracepoints"),
            Except = keys.Texts("except"),
            Capture = Word(keys, "capture", "stop", "no-stop"),
            Stack = keys.Number("stack", 256, 65536),
            Ring = keys.Number("ring", 2, 1024),
            Lossy = keys.Flag("lossy"),
            Arguments = Word(keys, "arguments", "own", "all", "none"),
            Until = keys.Text("until"),
            Timeout = keys.Text("timeout") is { } timeout ? Seconds(keys, timeout) : null,
            MaxHits = keys.Number("max-hits", 1, int.MaxValue),
        };
        keys.Finish();
        return scenario;
    }

    private static KernelChoice? Kernel(MappingReader keys, string folder)
    {
        switch (keys.Take("kernel"))
        {
            case null:
                return null;
            case YamlScalarNode { Value: { } release }:
                return new KernelChoice { Release = release };
            case YamlMappingNode mapping:
                var kernel = keys.Nested(mapping, "kernel");
                var choice = new KernelChoice
                {
                    Release = kernel.Text("release"),
                    Tree = Absolute(kernel.Text("tree"), folder),
                    Image = Absolute(kernel.Text("image"), folder),
                    Vmlinux = Absolute(kernel.Text("vmlinux"), folder),
                    Modules = Absolute(kernel.Text("modules"), folder),
                    DebugModules = Absolute(kernel.Text("debug-modules"), folder),
                };
                kernel.Finish();
                if (new[] { choice.Release, choice.Tree, choice.Image }.Count(part => part is not null) != 1)
                {
                    throw keys.Error(mapping,
                        "a kernel is a release, a tree, or an image (with vmlinux and modules): one of the three");
                }

                return choice;
            case var other:
                throw keys.Error(other, "kernel is a release or a mapping");
        }
    }

    private static InitramfsChoice? Initramfs(MappingReader keys, string folder)
    {
        switch (keys.Take("initramfs"))
        {
            case null:
                return null;
            case YamlScalarNode { Value: { } path }:
                return new InitramfsChoice { File = Absolute(path, folder) };
            case YamlMappingNode mapping:
                var reader = keys.Nested(mapping, "initramfs");
                var initramfs = new InitramfsDescription { Modules = reader.Texts("modules"),
                    Busybox = Absolute(reader.Text("busybox"), folder) };
                var steps = reader.Texts("init");
                var script = reader.Text("script");
                var scriptFile = Absolute(reader.Text("script-file"), folder);
                initramfs = initramfs with
                {
                    Steps = steps.IsEmpty ? initramfs.Steps : steps,
                    Files = reader.Items("files", "from", file => AddedFile(file, folder)),
                };
                reader.Finish();
                if ((steps.IsEmpty ? 0 : 1) + (script is null ? 0 : 1) + (scriptFile is null ? 0 : 1) > 1)
                {
                    throw keys.Error(mapping, "init, script and script-file exclude each other");
                }

                foreach (var step in steps.Where(step => !InitScript.IsStep(step)))
                {
                    throw keys.Error(mapping,
                        $"init has no step \"{step}\"; steps are {string.Join(", ", InitScript.Steps.Select(known => known.Name))}");
                }

                return new InitramfsChoice { Build = initramfs with { Script = script
                    ?? (scriptFile is null ? null : Script(scriptFile)) } };
            case var other:
                throw keys.Error(other, "initramfs is a file or a mapping");
        }
    }

    private static AddedFile AddedFile(MappingReader file, string folder)
    {
        var from = Absolute(file.Text("from"), folder)
            ?? throw file.Error("from", "a file needs \"from\", its path on this machine");
        var to = file.Text("to") ?? "/" + Path.GetFileName(from);
        uint? mode = file.Text("mode") is { } text
            ? text.Length is > 0 and <= 5 && text.All(c => c is >= '0' and <= '7') ? Convert.ToUInt32(text, 8) & 0xfff
                : throw file.Error("mode", $"mode is octal, such as 0755, not \"{text}\"")
            : null;
        return new AddedFile(from, to, mode);
    }

    private static NetworkCard NetworkCard(MappingReader card) =>
        new(card.Text("model") ?? throw card.Error("model", "a network card needs a model, such as e1000e"), card.Text("netdev")
            ?? "user", card.Text("mac"));

    private static Drive Drive(MappingReader drive, string folder)
    {
        var file = Absolute(drive.Text("file"), folder) ?? throw drive.Error("file", "a drive needs a file");
        return new Drive(
            file, drive.Text("format") ?? (file.EndsWith(".qcow2", StringComparison.Ordinal) ? "qcow2" : "raw"), drive.Text("if")
            ?? "virtio", drive.Flag("read-only") ?? false,
            drive.Flag("snapshot") ?? true);
    }

    private static string? Word(MappingReader keys, string key, params string[] words) => keys.Text(key) switch
    {
        null => null,
        var text when words.Contains(text) => text,
        var text => throw keys.Error(key, $"{key} is {string.Join(" or ", words)}, not \"{text}\""),
    };

    private static string Architecture(MappingReader keys) => keys.Text("architecture") switch
    {
        null or "x86-64" or "x86_64" or "amd64" => "x86-64",
        "i386" or "i686" or "x86" => "i386",
        var other => throw keys.Error("architecture", $"architecture is x86-64 or i386, not \"{other}\""),
    };

    private static int Memory(MappingReader keys)
    {
        if (keys.Text("memory") is not { } text)
        {
            return Scenario.DefaultMemory;
        }

        return TryParseMemory(text) ?? throw keys.Error("memory", $"memory is such as 512M or 2G (16M to 1024G), not \"{text}\"");
    }

    /// <summary>MiB from texts such as 512, 512M, 2G; null for anything else or outside 16M to 1024G.</summary>
    public static int? TryParseMemory(string text)
    {
        var digits = text.TrimEnd('M', 'm', 'G', 'g', 'i', 'B');
        var unit = text[digits.Length..].ToLowerInvariant() switch { "" or "m" or "mb" or "mib" => 1, "g" or "gb"
            or "gib" => 1024, _ => 0 };
        return int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && unit > 0 && value is > 0
            and <= 1 << 20
            && (long)value * unit is >= 16 and <= 1 << 20 ? value * unit : null;
    }

    /// <summary>A time as in <c>30</c>, <c>30s</c> or <c>5m</c>.</summary>
    /// <returns>Seconds, more than 0; null when it is none.</returns>
    public static double? TryParseSeconds(string text)
    {
        var digits = text.EndsWith('s') || text.EndsWith('m') ? text[..^1] : text;
        return double.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value)
            && value is > 0 and < 1e6 ? value * (text.EndsWith('m') ? 60 : 1) : null;
    }

    private static double Seconds(MappingReader keys, string text) =>
        TryParseSeconds(text) ?? throw keys.Error("timeout", $"timeout is such as 30s or 5m, not \"{text}\"");

    private static string? Absolute(string? path, string folder) => path is null ? null
        : Path.GetFullPath(path, Path.GetFullPath(folder));

    private static string Script(string path)
    {
        try
        {
            return File.ReadAllText(path, Encoding.UTF8);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException(
                $"{path}: {(e is FileNotFoundException or DirectoryNotFoundException ? "there is no such script" : e.Message)}",
                inner: e);
        }
    }
}
