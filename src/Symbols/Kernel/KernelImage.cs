using System.Collections.Immutable;
using System.Text;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Kernel;

/// <summary>A vmlinux: names, lines, types and unwind rows at link-time addresses. Everything is read when first asked for.</summary>
public sealed class KernelImage
{
    private const int MaximumBanner = 512;

    private readonly Lazy<IStructLayouts> _layouts;
    private readonly Lazy<ObjectTypes> _types;
    private readonly Lazy<ImmutableArray<string>> _sourceRoots;

    private KernelImage(ElfFile file, Architecture architecture, ImmutableArray<KernelLack> lacks)
    {
        File = file;
        Architecture = architecture;
        Symbols = new ElfSymbolTable(file);
        Symbolizer = new Symbolizer(file, Symbols);
        BuildId = file.BuildId;
        Banner = ReadBanner();
        Release = ReleaseOf(Banner);
        Lacks = lacks.AddRange(KernelLacks.Of(file, HasDwarf));
        _layouts = new Lazy<IStructLayouts>(() => new StructLayouts(Types));
        _types = new Lazy<ObjectTypes>(() => new ObjectTypes(file, Symbolizer, architecture.WordSize));
        _sourceRoots = new Lazy<ImmutableArray<string>>(FindSourceRoots);
    }

    public ElfFile File { get; }

    public Architecture Architecture { get; }

    public ElfSymbolTable Symbols { get; }

    public Symbolizer Symbolizer { get; }

    /// <summary>NT_GNU_BUILD_ID; empty when the kernel was linked without.</summary>
    public ImmutableArray<byte> BuildId { get; }

    /// <summary>linux_banner ("Linux version 6.1.0-56-amd64 (…) …"), or null.</summary>
    public string? Banner { get; }

    /// <summary>uname -r, out of the banner, or null.</summary>
    public string? Release { get; }

    public bool HasDwarf => ObjectFile.HasDwarf(File);

    /// <summary>What its files do not have, each said once with what it costs. Empty for a vmlinux with everything.</summary>
    public ImmutableArray<KernelLack> Lacks { get; }

    /// <summary>Structure layouts: from .BTF (milliseconds), from DWARF where there is none.</summary>
    public IStructLayouts Layouts => _layouts.Value;

    /// <summary>Types, variables and functions by name, at link-time addresses: from .BTF, and from DWARF what that does not have.</summary>
    public ObjectTypes Types => _types.Value;

    /// <summary>Where the kernel's own mapping begins (__START_KERNEL_map on x86-64, PAGE_OFFSET on i386), rounded down to 16 MiB.</summary>
    public ulong KernelMapBase =>
        File.Sections.Where(s => s.IsExecutable && s.IsAllocated && s.Address != 0).Select(s => s.Address).DefaultIfEmpty().Min() & ~0xffffffUL;

    /// <summary>Bytes that only this kernel has, and where they are linked: its build id, or its banner when it has none.</summary>
    public (ulong Address, ImmutableArray<byte> Bytes) Fingerprint
    {
        get
        {
            foreach (var section in File.Sections)
            {
                if (section is { IsAllocated: true, Type: ElfSection.TypeNote } && !BuildId.IsEmpty)
                {
                    var index = section.Data.Span.IndexOf(BuildId.AsSpan());
                    if (index >= 0)
                    {
                        return (section.Address + (ulong)index, BuildId);
                    }
                }
            }

            return TryFindSymbol("linux_banner", out var symbol) && Banner is not null
                ? (symbol.Value, [.. Encoding.UTF8.GetBytes(Banner)])
                : throw new MalformedFileException(File.Path, "", 0, "neither a build id nor linux_banner: it cannot be told whether the guest runs this kernel");
        }
    }

    /// <summary>
    /// Opens a kernel: a vmlinux (its debug information in it or in a file of its own), a bzImage with the System.map beside it, or a System.map alone.
    /// </summary>
    /// <exception cref="MalformedFileException">None of these, truncated, of another architecture, or without symbols.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static KernelImage Open(string path, ObjectFileOptions? options = null)
    {
        var opened = ObjectFile.Open(path, options);
        var file = opened.File;
        if (Architecture.ForElfMachine(file.Machine) is not { } architecture)
        {
            throw new MalformedFileException(path, "", 18, $"machine {file.Machine}; KTrace knows {string.Join(" and ", Architecture.All.Select(a => a.Name))}");
        }

        if (!ObjectFile.HasSymbols(file))
        {
            throw new MalformedFileException(path, ".symtab", 0, "no symbol table: the file is stripped; use the vmlinux of the kernel's -dbg package or build tree, or put its System.map beside it");
        }

        return new KernelImage(file, architecture, opened.Lacks);
    }

    /// <summary>
    /// A source file as the kernel's developers name it: without the folder in which the kernel was built. Line tables have that folder for assembly,
    /// and for everything when the kernel was built in a folder of its own (make O=…).
    /// </summary>
    public string ShortPath(string file)
    {
        foreach (var root in _sourceRoots.Value)
        {
            if (file.StartsWith(root, StringComparison.Ordinal))
            {
                return file[root.Length..];
            }
        }

        return file;
    }

    /// <summary>The first symbol of that name.</summary>
    public bool TryFindSymbol(string name, out ElfSymbol symbol)
    {
        var matches = Symbols.Find(name);
        symbol = matches.Count > 0 ? matches[0].Symbol : default;
        return matches.Count > 0;
    }

    /// <summary>File contents at a link-time address; false outside the file's sections with contents.</summary>
    public bool TryRead(ulong address, Span<byte> destination)
    {
        foreach (var section in File.Sections)
        {
            if (section.IsAllocated && section.HasContents && address >= section.Address && address - section.Address < section.Size)
            {
                var offset = address - section.Address;
                if (section.Size - offset < (ulong)destination.Length)
                {
                    return false;
                }

                section.Data.Span.Slice((int)offset, destination.Length).CopyTo(destination);
                return true;
            }
        }

        return false;
    }

    /// <summary>What the unwinder needs to know of it, when it runs <paramref name="slide"/> bytes higher than linked.</summary>
    public UnwindObject ForUnwinding(ulong slide) => UnwindObject.ForKernel(File, Architecture, slide, Release, SymbolStartAt) with
    {
        RuntimeText = new Lazy<RuntimeText?>(() => RuntimeText.TryOpen(Architecture, name => TryFindSymbol(name, out var symbol) ? symbol.Value : null, (address, code) => TryRead(address, code), Layouts)),
    };

    private SymbolStart? SymbolStartAt(ulong address) =>
        Symbols.TryFindNearest(address, out ElfSymbol symbol) ? new SymbolStart(symbol.Name, symbol.Value) : null;

    /// <summary>Files whose place in the source tree is known tell where the tree was: one of C, one of assembly.</summary>
    private ImmutableArray<string> FindSourceRoots()
    {
        var roots = ImmutableArray.CreateBuilder<string>();
        foreach (var (function, place) in ((string, string)[])
            [("start_kernel", "init/main.c"), ("startup_64", "arch/x86/kernel/head_64.S"), ("startup_32", "arch/x86/kernel/head_32.S"), ("startup_32_smp", "arch/x86/kernel/head_32.S"),
             ("go_to_protected_mode", "arch/x86/boot/pm.c"), ("start_of_setup", "arch/x86/boot/header.S")])
        {
            if (TryFindSymbol(function, out var symbol) && Symbolizer.Symbolize(symbol.Value)[^1].Source?.File is { } file
                && file.StartsWith('/') && file.EndsWith("/" + place, StringComparison.Ordinal))
            {
                roots.Add(file[..^place.Length]);
            }
        }

        return [.. roots.Distinct()];
    }

    private string? ReadBanner()
    {
        if (!TryFindSymbol("linux_banner", out var symbol))
        {
            return null;
        }

        var bytes = new byte[Math.Clamp((long)symbol.Size, 64, MaximumBanner)];
        if (!TryRead(symbol.Value, bytes))
        {
            return null;
        }

        var end = bytes.AsSpan().IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? bytes : bytes.AsSpan(0, end)).TrimEnd('\n');
    }

    private static string? ReleaseOf(string? banner) =>
        banner?.Split(' ') is ["Linux", "version", { Length: > 0 } release, ..] ? release : null;
}
