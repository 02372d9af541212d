// Which functions have the function tracer's no-op. A kernel with CONFIG_DYNAMIC_FTRACE lists the addresses of all calls of __fentry__ between __start_mcount_loc and __stop_mcount_loc
// (include/asm-generic/vmlinux.lds.h, MCOUNT_REC), a module in its section __mcount_loc (__patchable_function_entries where the compiler makes no-ops by itself): ftrace_process_locs in
// kernel/trace/ftrace.c (6.1) takes them from there.
//
// What real kernels do: the table of vmlinux is sorted after linking (scripts/sorttable.c), so that its relocations belong to other entries and only its contents count; they are link-time
// addresses also in a relocatable kernel. Weak functions that were overridden leave entries with no function (6.1 names them __ftrace_invalid_address__; 6.14 zeroes them). With
// CONFIG_X86_KERNEL_IBT the call follows an endbr. __pfx_FUNCTION covers padding before the entry and takes no part. A table is believed only where the bytes agree:
// call rel32, or one of the five-byte no-ops.
using System.Buffers.Binary;
using System.Collections.Immutable;
using KTrace.Symbols;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop.Sites;

/// <summary>The functions of one object that can be traced by their tracer's no-op, and why others cannot. At link-time addresses for the kernel, where it runs for a module.</summary>
public sealed class TraceableFunctions
{
    private const int CallLength = 5;
    private const int BranchTargetLength = 4;

    private readonly ulong[] _patches;
    private readonly ImmutableArray<AddressRange> _init;
    private readonly UntraceableReason _reason;
    private readonly CodeReader _code;

    private delegate bool CodeReader(ulong address, Span<byte> destination);

    private TraceableFunctions(ulong[] patches, ImmutableArray<AddressRange> init, UntraceableReason reason, CodeReader code)
    {
        _init = init;
        _reason = reason;
        _code = code;
        _patches = [.. patches.Where(IsCallOrNop)];
        reason.TracedUnits = new Lazy<HashSet<int>>(() => [.. _patches.Select(reason.UnitAt)]);
    }

    /// <summary>Number of no-ops, those of overridden functions included.</summary>
    public int Count => _patches.Length;

    /// <summary>The object was built for a function tracer.</summary>
    public bool HasTable => _patches.Length > 0;

    /// <summary>All no-ops' addresses, ascending.</summary>
    public IReadOnlyList<ulong> Patches => _patches;

    /// <summary>The kernel's own, at link-time addresses.</summary>
    public static TraceableFunctions Of(KernelImage image)
    {
        ulong? At(string name) => image.TryFindSymbol(name, out var symbol) ? symbol.Value : null;
        var patches = At("__start_mcount_loc") is { } start && At("__stop_mcount_loc") is { } stop ? ReadTable(image, start, stop) : [];
        var init = ImmutableArray.CreateBuilder<AddressRange>();
        if (At("__init_begin") is { } begin && At("__init_end") is { } end && begin < end)
        {
            init.Add(new AddressRange(begin, end));
        }

        foreach (var section in image.File.Sections.Where(s => s is { IsAllocated: true, IsExecutable: true, Size: > 0 } && s.Name.StartsWith(".init", StringComparison.Ordinal)))
        {
            init.Add(new AddressRange(section.Address, section.Address + section.Size));
        }

        return new TraceableFunctions(patches, init.ToImmutable(), UntraceableReason.Of(image, patches.Length > 0), image.TryRead);
    }

    /// <summary>A module's, where it runs; none when no file with its code is known.</summary>
    public static TraceableFunctions Of(KernelModule module)
    {
        var reason = UntraceableReason.Of(module);
        var table = ((string[])["__mcount_loc", "__patchable_function_entries"]).Select(module.ReadSection).FirstOrDefault(t => t is { IsEmpty: false });
        if (table is null)
        {
            return new TraceableFunctions([], module.InitText, reason, module.TryRead);
        }

        reason.HasTracer = true;
        return new TraceableFunctions(Words(table.Span, module.Architecture.WordSize), module.InitText, reason, module.TryRead);
    }

    /// <summary>The no-op of the function that is entered at an address; null when it has none (<see cref="WhyNot"/>).</summary>
    public TracerNop? Find(ulong entry)
    {
        var index = Array.BinarySearch(_patches, entry);
        if (index < 0)
        {
            index = ~index;
            if (index >= _patches.Length || _patches[index] != entry + BranchTargetLength || !IsBranchTarget(entry))
            {
                return null;
            }
        }

        return new TracerNop(entry, _patches[index], IsInit(entry));
    }

    /// <summary>The text is freed after boot, or after its module's init.</summary>
    public bool IsInit(ulong address) => _init.Any(r => r.Contains(address));

    /// <summary>A function is entered at an address, be it without a no-op.</summary>
    public bool IsEntry(ulong address) => _reason.IsEntry(address);

    /// <summary>Why the code at an address has no tracer's no-op, in few words: <c>assembly</c>, <c>notrace</c>, <c>noinstr: …</c>.</summary>
    public string WhyNot(ulong entry) => _reason.Of(entry);

    private static ulong[] ReadTable(KernelImage image, ulong start, ulong stop)
    {
        // The table lies in one section, which bounds it.
        var section = image.File.Sections.FirstOrDefault(s => s.IsAllocated && s.HasContents && start >= s.Address && stop >= start && stop - s.Address <= s.Size);
        return section is null ? [] : Words(section.Data.Span[(int)(start - section.Address)..(int)(stop - section.Address)], image.Architecture.WordSize);
    }

    private static ulong[] Words(ReadOnlySpan<byte> bytes, int word)
    {
        var words = new ulong[bytes.Length / word];
        var count = 0;
        for (var at = 0; at + word <= bytes.Length; at += word)
        {
            var value = word == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);
            if (value != 0)
            {
                words[count++] = value;
            }
        }

        Array.Resize(ref words, count);
        Array.Sort(words);
        return words;
    }

    private bool IsCallOrNop(ulong address)
    {
        Span<byte> code = stackalloc byte[CallLength];
        if (!_code(address, code))
        {
            return false;
        }

        // call rel32; nopl 0(%rax,%rax) (64-bit); the 32-bit no-op of arch/x86/include/asm/nops.h, BYTES_NOP5.
        return code[0] == 0xe8 || code.SequenceEqual((ReadOnlySpan<byte>)[0x0f, 0x1f, 0x44, 0x00, 0x00]) || code.SequenceEqual((ReadOnlySpan<byte>)[0x3e, 0x8d, 0x74, 0x26, 0x00]);
    }

    /// <summary>endbr64 or endbr32.</summary>
    private bool IsBranchTarget(ulong address)
    {
        Span<byte> code = stackalloc byte[BranchTargetLength];
        return _code(address, code) && code[0] == 0xf3 && code[1] == 0x0f && code[2] == 0x1e && code[3] is 0xfa or 0xfb;
    }
}
