using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Kernel;

/// <summary>Where to look for what a kernel's or module's file has not itself.</summary>
/// <param name="Symbols">A System.map or /proc/kallsyms, for a kernel without symbols; null: the System.map beside it, if there is one.</param>
/// <param name="DebugDirectories">Folders with separate debug files; null: <see cref="SeparateDebug.StandardDirectories"/>.</param>
public sealed record ObjectFileOptions(string? Symbols = null, IReadOnlyList<string>? DebugDirectories = null);

/// <summary>A kernel or a module, opened whatever way it is stored in: ELF, compressed, bzImage, split into two files, or nothing but symbols as text.</summary>
/// <param name="File">All that is known as one ELF file.</param>
/// <param name="Lacks">What it has not, and what was found and did not fit.</param>
public sealed record ObjectFile(ElfFile File, ImmutableArray<KernelLack> Lacks)
{
    private const int UnitsAsked = 8;
    private const string DebugPackage = "the kernel's -dbg package has the file with DWARF; or build with CONFIG_DEBUG_INFO";

    /// <summary>Opens any of them.</summary>
    /// <exception cref="MalformedFileException">None of these, or damaged.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static ObjectFile Open(string path, ObjectFileOptions? options = null)
    {
        options ??= new ObjectFileOptions();
        if (SymbolList.Is(path))
        {
            // A list alone; or, for /proc/kallsyms, which says 0 bytes of itself, before anything is mapped.
            var list = SymbolList.Read(path);
            list.Normalize(list.AddressSize == 8 ? 0xffffffff81000000 : list.AddressOf("_text") ?? 0);
            return new ObjectFile(list.ToElf(), [new KernelLack("symbols only", "no code to look at, no types, no unwind tables", "give the kernel's bzImage or vmlinux too")]);
        }

        var file = OpenAsStored(path, out var isBzImage);
        var lacks = ImmutableArray.CreateBuilder<KernelLack>();
        if (!HasDwarf(file))
        {
            var debug = SeparateDebug.Find(file, options.DebugDirectories);
            foreach (var problem in debug.Problems)
            {
                lacks.Add(new KernelLack("a debug file does not fit", problem, null));
            }

            file = debug.File is null ? file : SeparateDebug.Join(file, debug.File);
        }

        if (!HasSymbols(file) && !file.IsRelocatable)
        {
            file = AddSymbols(file, path, isBzImage, options.Symbols, lacks);
        }

        AddDwarfLacks(file, lacks);
        return new ObjectFile(file, lacks.ToImmutable());
    }

    /// <summary>The ELF file alone, inflated where it is stored compressed (.ko.xz, bzImage); nothing is looked for beside it.</summary>
    /// <exception cref="MalformedFileException">No ELF file, or damaged.</exception>
    public static ElfFile OpenAsStored(string path) => OpenAsStored(path, out _);

    private static ElfFile OpenAsStored(string path, out bool isBzImage)
    {
        var mapped = new MappedFile(path);
        isBzImage = BzImage.Is(mapped);
        return isBzImage ? BzImage.Extract(mapped)
            : InflatedFile.FormatOf(mapped.Slice("", 0, Math.Min(mapped.Length, 8)).Span) is { } format ? ElfFile.Open(InflatedFile.Open(mapped, format))
            : ElfFile.Open(mapped);
    }

    /// <summary>The section is there with its bytes. (Asking for its contents would inflate it.)</summary>
    internal static bool HasDwarf(ElfFile file) => file.FindSection(".debug_info") is { HasContents: true, Size: > 0 };

    internal static bool HasSymbols(ElfFile file) => file.Sections.Any(s => s is { Type: ElfSection.TypeSymtab, Size: > 0 });

    private static ElfFile AddSymbols(ElfFile file, string path, bool isBzImage, string? given, ImmutableArray<KernelLack>.Builder lacks)
    {
        if ((given ?? SymbolsBeside(path, isBzImage)) is not { } from)
        {
            return file;
        }

        var list = SymbolList.Read(from);
        var text = file.FindSection(".text")?.Address ?? 0;
        list.Normalize(text);
        if ((list.AddressOf("_text") ?? list.AddressOf("_stext")) is { } start && start != text)
        {
            lacks.Add(new KernelLack("symbols do not fit", $"{from} has _text at 0x{start:x}, and .text of {path} is at 0x{text:x}; not used", "give the System.map of the same build"));
            return file;
        }

        return list.AddTo(file);
    }

    /// <summary>Where builds and distributions put it: vmlinuz-R and System.map-R in one folder; in a build tree vmlinux at the top, bzImage in arch/x86/boot.</summary>
    private static string? SymbolsBeside(string path, bool isBzImage)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/";
        var name = Path.GetFileName(path);
        var release = name.IndexOf('-') is var dash and > 0 ? name[dash..] : "";
        string[] places =
        [
            Path.Combine(folder, "System.map" + release),
            .. isBzImage ? (string[])[Path.Combine(folder, "../../..", "System.map")] : [],
        ];
        return places.FirstOrDefault(System.IO.File.Exists);
    }

    private static void AddDwarfLacks(ElfFile file, ImmutableArray<KernelLack>.Builder lacks)
    {
        if (!HasDwarf(file))
        {
            lacks.Add(new KernelLack("no DWARF", "frames by symbol only, without inlined functions, source lines, arguments and locals", DebugPackage));
            return;
        }

        if (file.FindSection(".debug_line") is not { HasContents: true })
        {
            lacks.Add(new KernelLack("no line tables (.debug_line)", "no source lines", DebugPackage));
        }

        if (file.FindSection(".gnu_debugaltlink") is { HasContents: true } link)
        {
            var shared = link.Data.Span[..Math.Max(0, link.Data.Span.IndexOf((byte)0))];
            lacks.Add(new KernelLack(
                $"DWARF shared by dwz ({System.Text.Encoding.UTF8.GetString(shared)})", "what dwz moved into that file is not read: some functions are named by their symbols, and types come from BTF",
                "use debug files that dwz did not shrink"));
        }

        if (SkeletonAmong(file) is { } dwo)
        {
            lacks.Add(new KernelLack(
                $"split DWARF ({dwo})", "the debug information lies in .dwo files, which are not read: no inlined functions, arguments and types", "build without CONFIG_DEBUG_INFO_SPLIT"));
        }
    }

    /// <summary>The .dwo file that a unit names, if the file is made of skeletons: all units of a build are.</summary>
    private static string? SkeletonAmong(ElfFile file)
    {
        if (file.IsRelocatable)
        {
            return null;
        }

        var sections = new DwarfSections(file);
        var offset = 0;
        for (var i = 0; i < UnitsAsked && offset < sections.Info.Length; i++)
        {
            try
            {
                if (SplitUnits.DwoNameOf(sections, offset) is { } name)
                {
                    return name;
                }

                offset = UnitHeader.ReadEnd(sections.Info, offset, out _);
            }
            catch (MalformedFileException)
            {
                return null;
            }
        }

        return null;
    }
}
