// Which modules there are in a folder, and which need which. modules.dep (depmod(8), modules.dep(5)) says so where depmod has
// run; Debian's packages bring none (depmod runs when they are installed), and a build tree has none: there, each module's own
// .modinfo section says "depends=a,b" and "softdep=pre: c" (include/linux/module.h, MODULE_SOFTDEP).
// What is built in (modules.builtin) needs no file.
using System.Collections.Immutable;
using System.Text;

namespace KTrace.Boot.Kernels;

/// <summary>One module to load.</summary>
/// <param name="Name">As the kernel writes it, with '_'.</param>
public sealed record ModuleFile(string Name, string Path);

/// <summary>A kernel's modules, by name.</summary>
public sealed class ModuleIndex
{
    private const int LineLimit = 200_000;
    private const int DepthLimit = 200;

    private readonly Dictionary<string, string> paths = [];
    private readonly Dictionary<string, string[]> listed = [];
    private readonly HashSet<string> builtin = [];
    private readonly HashSet<string> inPackage = [];
    private readonly Dictionary<string, ImmutableArray<string>> needs = [];

    private ModuleIndex(string directory)
    {
        Directory = directory;
    }

    public string Directory { get; }

    /// <summary>The modules whose files are here.</summary>
    public IEnumerable<string> Names => paths.Keys.Order(StringComparer.Ordinal);

    /// <summary>Reads a folder like /lib/modules/RELEASE, or a kernel build tree.</summary>
    /// <exception cref="BootException">There is no such folder, or it cannot be read.</exception>
    public static ModuleIndex Open(string directory)
    {
        if (!System.IO.Directory.Exists(directory))
        {
            throw new BootException($"{directory}: there is no such folder of kernel modules");
        }

        var index = new ModuleIndex(Path.GetFullPath(directory));
        try
        {
            index.Read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException($"{directory}: {e.Message}", inner: e);
        }

        return index;
    }

    /// <summary>The code is in the kernel itself.</summary>
    public bool IsBuiltIn(string name) => builtin.Contains(ModuleFiles.Normalize(name));

    /// <summary>The module's file, or null.</summary>
    public string? Find(string name) => paths.GetValueOrDefault(ModuleFiles.Normalize(name));

    /// <summary>The kernel has this module, here or in its package.</summary>
    public bool Knows(string name) => Find(name) is not null || IsBuiltIn(name)
        || inPackage.Contains(ModuleFiles.Normalize(name));

    /// <summary>The files of the named modules and of all they need, each after what it needs; built-in ones are left
    /// out.</summary>
    /// <exception cref="BootException">A module is not there.</exception>
    public async Task<ImmutableArray<ModuleFile>> ResolveAsync(IEnumerable<string> names,
        CancellationToken cancellationToken = default)
    {
        var order = ImmutableArray.CreateBuilder<ModuleFile>();
        var state = new Dictionary<string, bool>();
        foreach (var name in names)
        {
            await VisitAsync(ModuleFiles.Normalize(name), neededBy: null, optional: false, depth: 0).ConfigureAwait(false);
        }

        return order.ToImmutable();

        async Task VisitAsync(string name, string? neededBy, bool optional, int depth)
        {
            if (depth > DepthLimit)
            {
                throw new BootException(
                    $"{Directory}: module dependencies are nested deeper than {DepthLimit}: modules.dep is damaged");
            }

            // A name that is being visited is a cycle, which only a damaged modules.dep has: the order inside it does not matter.
            if (state.ContainsKey(name) || builtin.Contains(name))
            {
                return;
            }

            if (!paths.TryGetValue(name, out var path))
            {
                if (optional)
                {
                    return;
                }

                throw Unknown(name, neededBy);
            }

            state[name] = false;
            var (hard, soft) = await NeedsAsync(name, path, cancellationToken).ConfigureAwait(false);
            foreach (var needed in soft)
            {
                await VisitAsync(needed, name, optional: true, depth + 1).ConfigureAwait(false);
            }

            foreach (var needed in hard)
            {
                await VisitAsync(needed, name, optional: false, depth + 1).ConfigureAwait(false);
            }

            state[name] = true;
            order.Add(new ModuleFile(name, path));
        }
    }

    /// <summary>The text of a modules.dep for every module file that is here, sorted by path.</summary>
    internal async Task<string> ToModulesDepAsync(CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        foreach (var (name, path) in paths.OrderBy(pair => pair.Value, StringComparer.Ordinal))
        {
            // modprobe's format: the closure, what is loaded last first.
            var closure = (await ResolveAsync([name], cancellationToken).ConfigureAwait(false)).Reverse().Skip(1);
            text.Append(Relative(path)).Append(':');
            foreach (var needed in closure)
            {
                text.Append(' ').Append(Relative(needed.Path));
            }

            text.Append('\n');
        }

        return text.ToString();
    }

    private string Relative(string path) => Path.GetRelativePath(Directory, path);

    private BootException Unknown(string name, string? neededBy)
    {
        var by = neededBy is null ? "" : $" (needed by {neededBy})";
        if (inPackage.Contains(name))
        {
            var release = Path.GetFileName(Directory);
            return new BootException($"module {name}{by} belongs to this kernel but its file is not in {Directory}",
                $"ktrace kernel fetch {release} --module {name}");
        }

        var near = paths.Keys.Concat(builtin).Concat(inPackage).Distinct()
            .Where(other => NearNames.Distance(name, other) <= 2 || other.StartsWith(name, StringComparison.Ordinal))
            .Order(StringComparer.Ordinal).Take(5).ToArray();
        return new BootException($"this kernel has no module {name}{by}", near.Length > 0
            ? "near names: " + string.Join(", ", near) : null);
    }

    private async Task<(IEnumerable<string> Hard, IEnumerable<string> Soft)> NeedsAsync(string name, string path,
        CancellationToken cancellationToken)
    {
        if (listed.TryGetValue(name, out var dependencies))
        {
            return (dependencies, await SoftNeedsAsync(name, path, cancellationToken).ConfigureAwait(false));
        }

        var notes = await ModInfo.ReadAsync(path, cancellationToken).ConfigureAwait(false);
        return (notes.Depends, notes.SoftBefore);
    }

    private async Task<ImmutableArray<string>> SoftNeedsAsync(string name, string path, CancellationToken cancellationToken)
    {
        if (!needs.TryGetValue(name, out var soft))
        {
            soft = (await ModInfo.ReadAsync(path, cancellationToken).ConfigureAwait(false)).SoftBefore;
            needs[name] = soft;
        }

        return soft;
    }

    private void Read()
    {
        foreach (var line in Lines("modules.builtin"))
        {
            if (ModuleFiles.NameOf(line) is { } name)
            {
                builtin.Add(name);
            }
        }

        foreach (var line in Lines("modules.order"))
        {
            if (ModuleFiles.NameOf(line) is { } name)
            {
                inPackage.Add(name);
            }
        }

        foreach (var line in Lines("modules.dep"))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            // A NUL ends paths everywhere else, and is an error here.
            if (colon <= 0 || line.Contains('\0', StringComparison.Ordinal) || ModuleFiles.NameOf(line[..colon]) is not { } name)
            {
                continue;
            }

            var path = Path.GetFullPath(Path.Combine(Directory, line[..colon]));
            if (!path.StartsWith(Directory + "/", StringComparison.Ordinal) || !File.Exists(path))
            {
                inPackage.Add(name);
                continue;
            }

            paths[name] = path;
            listed[name] = [.. line[(colon + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries).Reverse()
                .Select(ModuleFiles.NameOf).OfType<string>()];
        }

        if (listed.Count == 0)
        {
            foreach (var path in ModuleFiles.All(Directory))
            {
                paths.TryAdd(ModuleFiles.NameOf(path)!, path);
            }
        }
    }

    private IEnumerable<string> Lines(string file)
    {
        var path = Path.Combine(Directory, file);
        return File.Exists(path) ? File.ReadLines(path).Take(LineLimit) : [];
    }
}
