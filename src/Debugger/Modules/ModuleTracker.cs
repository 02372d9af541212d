// A module is known before its init function runs: load_module() (kernel/module/main.c) calls do_init_module(mod) when the module is relocated,
// its section attributes stand in sysfs and its notifiers have run. The argument is in the first argument register at the function's entry.
using System.Collections.Immutable;
using KTrace.Debugger.Memory;
using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Modules;

/// <summary>A module that is about to run its init function.</summary>
/// <param name="BuildId">As the guest has it; empty where the kernel does not keep it.</param>
/// <param name="Warnings">What makes its frames poorer than they could be, for people.</param>
public sealed record LoadedModule(KernelModule Module, ImmutableArray<byte> BuildId, IReadOnlyList<string> Warnings);

/// <summary>Reads struct module at do_init_module, and finds the module's files.</summary>
internal sealed class ModuleTracker(KernelMap map, GuestMemory memory, ModuleFiles files)
{
    /// <summary>The function to stop at.</summary>
    public const string InitFunction = "do_init_module";

    // Real modules have about 40 sections; more is a guest that lies.
    private const int MaximumSections = 512;

    // Distributions' kernels have some 4,000 in all; a list that goes on is a guest that lies.
    private const int MaximumModules = 8192;
    private const int MaximumName = 256;
    private const int BuildIdBytes = 20;

    private static ReadOnlySpan<byte> NoteHeader => [4, 0, 0, 0, BuildIdBytes, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0];

    private readonly ModuleLayout? _layout = ModuleLayout.Find(map.Image.Layouts);

    /// <summary>False when this kernel's types do not tell how modules look; then modules cannot be named.</summary>
    public bool CanRead => _layout is not null;

    /// <param name="registers">At the entry of <see cref="InitFunction"/>.</param>
    /// <returns>Null when struct module could not be read.</returns>
    public ValueTask<LoadedModule?> ReadAsync(RegisterSet registers, CancellationToken cancellationToken) =>
        ReadAtAsync(registers[map.Image.Architecture.ArgumentRegisters[0]], cancellationToken);

    /// <summary>
    /// The modules that are in the kernel already, oldest first: the list <c>modules</c> (kernel/module/main.c), to whose head new ones are added. Those that are only begun
    /// (MODULE_STATE_UNFORMED) are left out: they come by <see cref="InitFunction"/>.
    /// </summary>
    /// <returns>Each with whether its init function has returned (MODULE_STATE_LIVE, MODULE_STATE_GOING), so that its init text is gone.</returns>
    public async ValueTask<IReadOnlyList<(LoadedModule Module, bool IsInitDone)>> ReadAllAsync(CancellationToken cancellationToken)
    {
        const uint coming = 1, unformed = 3;
        var found = new List<(LoadedModule, bool)>();
        if (_layout?.List is not { } list || !map.Image.TryFindSymbol("modules", out var symbol))
        {
            return found;
        }

        var head = map.ToRunTime(symbol.Value);
        var seen = new HashSet<ulong> { head };
        for (var at = await memory.TryReadWordAsync(head, cancellationToken); at is { } entry && seen.Add(entry) && seen.Count <= MaximumModules; at = await memory.TryReadWordAsync(entry, cancellationToken))
        {
            var address = entry - (ulong)list;
            var state = _layout.State is { } offset ? await memory.TryReadUInt32Async(address + (ulong)offset, cancellationToken) ?? unformed : 0;
            if (state < unformed && await ReadAtAsync(address, cancellationToken) is { } module)
            {
                found.Add((module, state != coming));
            }
        }

        found.Reverse();
        return found;
    }

    private async ValueTask<LoadedModule?> ReadAtAsync(ulong address, CancellationToken cancellationToken)
    {
        if (_layout is null)
        {
            return null;
        }

        var architecture = map.Image.Architecture;
        var name = await memory.TryReadStringAsync(address + (ulong)_layout.Name, _layout.NameLength, cancellationToken);
        var textBase = await memory.TryReadWordAsync(address + (ulong)_layout.TextBase, cancellationToken);
        if (string.IsNullOrEmpty(name) || textBase is null)
        {
            return null;
        }

        var sections = await ReadSectionsAsync(address, cancellationToken);
        sections.TryAdd(".text", textBase.Value);
        var buildId = await ReadBuildIdAsync(address, sections, cancellationToken);
        var warnings = new List<string>();
        var matching = Matching(name, buildId, warnings);
        if (matching.Count > 0)
        {
            try
            {
                return new LoadedModule(KernelModule.Load(name, architecture, sections, matching), buildId, warnings);
            }
            catch (MalformedFileException e)
            {
                warnings.Add($"module {name}: {e.Message}");
            }
        }

        if (warnings.Count == 0)
        {
            warnings.Add($"module {name}: no .ko file of it is known, so its frames have no names (--modules DIR tells where to look)");
        }

        // Without a file not even the size of its text is known; a guess would claim addresses of others.
        var text = new AddressRange(textBase.Value, textBase.Value + 0x1000);
        return new LoadedModule(KernelModule.Unknown(name, architecture, textBase.Value, text), buildId, warnings);
    }

    /// <summary>The name of the module that the first argument points to; null when it cannot be read.</summary>
    public async ValueTask<string?> ReadNameAsync(RegisterSet registers, CancellationToken cancellationToken) =>
        _layout is null
            ? null
            : await memory.TryReadStringAsync(
                registers[map.Image.Architecture.ArgumentRegisters[0]] + (ulong)_layout.Name, _layout.NameLength, cancellationToken);

    private List<ElfFile> Matching(string name, ImmutableArray<byte> buildId, List<string> warnings)
    {
        var matching = new List<ElfFile>();
        foreach (var file in files.Open(name, warnings.Add))
        {
            var own = file.BuildId;
            if (!buildId.IsEmpty && !own.IsEmpty && !own.AsSpan().SequenceEqual(buildId.AsSpan()))
            {
                warnings.Add($"module {name}: {file.Path} is of another build ({Convert.ToHexStringLower(own.AsSpan())}) than the guest's ({Convert.ToHexStringLower(buildId.AsSpan())}); not used");
            }
            else
            {
                matching.Add(file);
            }
        }

        return matching;
    }

    /// <summary>struct module has it with CONFIG_STACKTRACE_BUILD_ID only (Debian's kernels are built without); the note itself is loaded in any case.</summary>
    private async ValueTask<ImmutableArray<byte>> ReadBuildIdAsync(ulong module, Dictionary<string, ulong> sections, CancellationToken cancellationToken)
    {
        var bytes = new byte[BuildIdBytes];
        if (_layout!.BuildId is { } offset && await memory.TryReadAsync(module + (ulong)offset, bytes, cancellationToken) && bytes.AsSpan().ContainsAnyExcept((byte)0))
        {
            return [.. bytes];
        }

        var note = new byte[NoteHeader.Length + BuildIdBytes];
        return sections.TryGetValue(".note.gnu.build-id", out var address) && await memory.TryReadAsync(address, note, cancellationToken) && note.AsSpan().StartsWith(NoteHeader)
            ? [.. note[NoteHeader.Length..]]
            : [];
    }

    private async ValueTask<Dictionary<string, ulong>> ReadSectionsAsync(ulong module, CancellationToken cancellationToken)
    {
        var sections = new Dictionary<string, ulong>(StringComparer.Ordinal);
        var layout = _layout!.Attributes;
        if (await memory.TryReadWordAsync(module + (ulong)_layout.SectionAttributes, cancellationToken) is not { } attributes || attributes == 0)
        {
            return sections;
        }

        var count = layout.Count is { } offset
            ? await memory.TryReadUInt32Async(attributes + (ulong)offset, cancellationToken) ?? 0
            : MaximumSections;
        for (var i = 0UL; i < Math.Min(count, MaximumSections); i++)
        {
            var entry = attributes + (ulong)layout.First + (i * (ulong)layout.Stride);
            if (await memory.TryReadWordAsync(entry + (ulong)layout.NamePointer, cancellationToken) is not { } namePointer || namePointer == 0
                || await memory.TryReadWordAsync(entry + (ulong)layout.Address, cancellationToken) is not { } address
                || await memory.TryReadStringAsync(namePointer, MaximumName, cancellationToken) is not { Length: > 0 } name)
            {
                break;
            }

            sections[name] = address;
        }

        return sections;
    }
}
