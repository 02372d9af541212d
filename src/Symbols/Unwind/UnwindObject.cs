using System.Collections.Immutable;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Orc;

namespace KTrace.Symbols.Unwind;

/// <summary>A half-open range of addresses.</summary>
public readonly record struct AddressRange(ulong Start, ulong End)
{
    public bool Contains(ulong address) => address >= Start && address < End;
}

/// <summary>A symbol as the unwinder wants it: its name and where it starts.</summary>
public readonly record struct SymbolStart(string Name, ulong Start);

/// <summary>
/// The kernel or one module, as <see cref="UnwindTable"/> takes it. Row sources and symbols answer at the addresses of the file (or of its
/// relocation); the target runs it <paramref name="Slide"/> bytes higher.
/// </summary>
/// <param name="Name">Unique in a table: <c>vmlinux</c>, or the module's name.</param>
/// <param name="Text">Where its code is in the target, slide included.</param>
/// <param name="Slide">KASLR's displacement for the kernel; 0 for a module that was relocated for the addresses at which it runs.</param>
/// <param name="CallFrames">CFI, or null.</param>
/// <param name="Orc">ORC, or null.</param>
/// <param name="FramePointers">Frame pointers where the object was built with them, or null.</param>
/// <param name="SymbolAt">The nearest symbol at or below an address of the file, or null.</param>
public sealed record UnwindObject(
    string Name,
    ImmutableArray<AddressRange> Text,
    ulong Slide,
    IUnwindRowSource? CallFrames,
    IUnwindRowSource? Orc,
    IUnwindRowSource? FramePointers,
    Func<ulong, SymbolStart?> SymbolAt)
{
    /// <summary>The kernel's run-time text; asked for when an address lies in no section. Null where it cannot be known.</summary>
    public Lazy<RuntimeText?>? RuntimeText { get; init; }

    /// <summary>Pieces of the kernel's functions that no row describes; null where it has none.</summary>
    public OutOfLineText? OutOfLine { get; init; }

    /// <summary>The kernel: its executable sections (but for those whose code is looked up elsewhere), .debug_frame, ORC, and frame pointers when neither ORC nor CFI is there.</summary>
    /// <param name="release">For ORC before 6.4; see <see cref="OrcFormat.FromRelease"/>.</param>
    public static UnwindObject ForKernel(ElfFile vmlinux, Architecture architecture, ulong slide, string? release, Func<ulong, SymbolStart?> symbolAt)
    {
        var text = ImmutableArray.CreateBuilder<AddressRange>();
        foreach (var section in vmlinux.Sections)
        {
            if (section.IsExecutable && section.IsAllocated && section.Size > 0 && section.Name != OutOfLineText.Section)
            {
                text.Add(new AddressRange(section.Address + slide, section.Address + section.Size + slide));
            }
        }

        return new UnwindObject(
            "vmlinux",
            text.ToImmutable(),
            slide,
            new CallFrameTable(vmlinux, architecture),
            OrcTable.TryOpen(vmlinux, release),
            FramePointerRows.TryOpen(vmlinux, architecture, symbolAt),
            symbolAt)
        {
            OutOfLine = OutOfLineText.TryOpen(vmlinux),
        };
    }

    /// <summary>A module whose sources were relocated for the addresses at which it runs.</summary>
    /// <param name="debug">The debug .ko (it has .debug_frame, its ORC sections have no bytes), or null.</param>
    /// <param name="shipped">The shipped .ko (it has ORC), or null.</param>
    /// <param name="text">Its executable sections in the target, the init ones as long as they are there.</param>
    public static UnwindObject ForModule(
        string name,
        Architecture architecture,
        ISectionSource? debug,
        ISectionSource? shipped,
        string? release,
        ImmutableArray<AddressRange> text,
        Func<ulong, SymbolStart?> symbolAt) => new(
            name,
            text,
            0,
            debug is null ? null : new CallFrameTable(debug, architecture),
            shipped is null ? null : OrcTable.TryOpen(shipped, release),
            null,
            symbolAt);
}
