using System.Diagnostics;
using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger;

/// <summary>
/// The .ko files that may belong to the guest's modules: folders with shipped modules, and folders with their debug files. Names are compared as
/// the kernel does, with '-' and '_' alike.
/// </summary>
public sealed class ModuleFiles : IDisposable
{
    private static readonly string[] Suffixes = [".ko", ".ko.debug", ".ko.xz", ".ko.zst", ".ko.gz"];

    private readonly Dictionary<string, List<string>> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<Symbolizer>> _symbolizers = new(StringComparer.Ordinal);
    private string? _inflated;

    /// <param name="places">Folders (searched below) and single files; those that do not exist are passed over.</param>
    public ModuleFiles(IEnumerable<string> places)
    {
        foreach (var place in places)
        {
            IEnumerable<string> files = Directory.Exists(place)
                ? Directory.EnumerateFiles(place, "*.ko*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = 0, MaxRecursionDepth = 16 })
                : File.Exists(place) ? [place] : [];
            foreach (var file in files)
            {
                if (NameOf(file) is { } name)
                {
                    if (!_byName.TryGetValue(name, out var list))
                    {
                        _byName[name] = list = [];
                    }

                    list.Add(file);
                }
            }
        }
    }

    public bool IsEmpty => _byName.Count == 0;

    /// <summary>A module's name as the kernel has it.</summary>
    public static string Normalize(string name) => (name.EndsWith(".ko", StringComparison.Ordinal) ? name[..^3] : name).Replace('-', '_');

    /// <summary>Opens the files of one module; those that are broken are passed over and reported through <paramref name="complain"/>.</summary>
    public IReadOnlyList<ElfFile> Open(string module, Action<string> complain)
    {
        var opened = new List<ElfFile>();
        foreach (var path in _byName.GetValueOrDefault(Normalize(module)) ?? [])
        {
            try
            {
                var file = ElfFile.Open(Inflated(path));
                if (file.IsRelocatable)
                {
                    opened.Add(file);
                }
            }
            catch (Exception e) when (e is MalformedFileException or IOException or UnauthorizedAccessException)
            {
                complain(e.Message);
            }
        }

        return opened;
    }

    /// <summary>The modules that have a function of that name, by name: with code of its own, a copy, or inlined.</summary>
    public IReadOnlyList<string> FindDefining(string function) =>
        [.. Symbolizers().Where(m => new FunctionLookup(m.Symbolizer).Find(function).Count > 0).Select(m => m.Module).Distinct().Order(StringComparer.Ordinal)];

    /// <summary>Names of one module's files (of all modules when null), at addresses of no meaning: one section after the other from 0.</summary>
    public IEnumerable<(string Module, Symbolizer Symbolizer)> Symbolizers(string? module = null)
    {
        foreach (var name in module is null ? _byName.Keys.ToList() : [Normalize(module)])
        {
            if (!_symbolizers.TryGetValue(name, out var symbolizers))
            {
                _symbolizers[name] = symbolizers = [];
                foreach (var file in Open(name, _ => { }))
                {
                    try
                    {
                        symbolizers.Add(new Symbolizer(new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file)), name));
                    }
                    catch (MalformedFileException)
                    {
                        // It is complained about when the module comes.
                    }
                }
            }

            foreach (var symbolizer in symbolizers)
            {
                yield return (name, symbolizer);
            }
        }
    }

    /// <summary>Every file that is one.</summary>
    public IEnumerable<ElfFile> OpenAll() => _byName.Keys.SelectMany(name => Open(name, _ => { }));

    public void Dispose()
    {
        if (_inflated is not null)
        {
            try
            {
                Directory.Delete(_inflated, recursive: true);
            }
            catch (IOException)
            {
                // Left for the system's own cleaning of its temporary files.
            }
        }
    }

    private static string? NameOf(string path)
    {
        var file = Path.GetFileName(path);
        var suffix = Suffixes.FirstOrDefault(s => file.EndsWith(s, StringComparison.Ordinal));
        return suffix is null || file.Length == suffix.Length ? null : Normalize(file[..^suffix.Length]);
    }

    /// <summary>The file itself, or an inflated copy of it in a private folder.</summary>
    private string Inflated(string path)
    {
        var program = Path.GetExtension(path) switch { ".xz" => "xz", ".zst" => "zstd", ".gz" => "gzip", _ => null };
        if (program is null)
        {
            return path;
        }

        _inflated ??= Directory.CreateTempSubdirectory("ktrace-modules-").FullName;
        var target = Path.Combine(_inflated, $"{Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(path)))[..16]}.ko");
        if (File.Exists(target))
        {
            return target;
        }

        var start = new ProcessStartInfo(program, ["-dc", "--", path]) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        try
        {
            using var inflate = Process.Start(start)!;
            inflate.StandardInput.Close();
            using (var output = new FileStream(target + ".part", FileMode.Create))
            {
                inflate.StandardOutput.BaseStream.CopyTo(output);
            }

            inflate.WaitForExit();
            if (inflate.ExitCode != 0)
            {
                throw new IOException($"{path}: {program} could not inflate it");
            }
        }
        catch (System.ComponentModel.Win32Exception)
        {
            throw new IOException($"{path}: the {program} program is needed to read it");
        }

        File.Move(target + ".part", target);
        return target;
    }
}
