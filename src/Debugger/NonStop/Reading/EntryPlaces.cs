// Where a function's parameters are when it is entered. What FrameVariables finds at a function's first instruction depends on the code alone, not on the values: it is asked twice, with made-up registers and a
// made-up stack whose words are all different, and where the value went along with a register or a stack slot, that is where it is from. So the places are those that stopping tracepoints read.
using System.Buffers.Binary;
using System.Collections.Immutable;
using KTrace.Debugger.Values;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;

namespace KTrace.Debugger.NonStop.Reading;

internal enum EntryPlaceKind : byte
{
    Unknown,
    Register,
    Stack,
    Constant,
}

/// <summary>One parameter.</summary>
/// <param name="Place">The register as records number it; or bytes above the stack pointer.</param>
/// <param name="Size">Bytes; 0 where the place is not known.</param>
internal sealed record EntryPlace(FrameVariable Variable, EntryPlaceKind Kind, int Place, ulong Constant, int Size)
{
    public bool IsPointer { get; } = Kind != EntryPlaceKind.Unknown && Variable.Type.Resolved is PointerType;

    public bool IsSigned { get; } = Kind != EntryPlaceKind.Unknown && Arithmetic.IsSigned(Variable.Type);
}

/// <summary>Finds the places of functions' parameters. For one thread at a time, like the map.</summary>
internal sealed class EntryPlaces(KernelMap map, ITypeSource types, FrameVariables variables)
{
    private Architecture Architecture => map.Image.Architecture;

    /// <summary>The parameters of a function in their order; null where nothing is known of it.</summary>
    /// <param name="entry">Its first instruction, as the map has it.</param>
    public ImmutableArray<EntryPlace>? Of(ulong entry) =>
        Probe(entry, 1) is { } first && Probe(entry, 2) is { } second && first.Length == second.Length ? [.. first.Zip(second, Place)] : null;

    /// <summary>Names of local variables that are in scope there; they have no values yet.</summary>
    public IEnumerable<string> LocalsAt(ulong entry) =>
        variables.LocalsOf(StackAt(entry, 1), 0, 0, new ProbeStack(Architecture, 1)).Select(v => v.Name);

    private EntryPlace Place(FrameVariable first, FrameVariable second)
    {
        var unknown = new EntryPlace(first, EntryPlaceKind.Unknown, 0, 0, 0);
        if (first.Value is not { Number: not null, Target: null, BitSize: 0, Bytes.Length: <= 8 } one || second.Value is not { Number: not null } two
            || first.Type.Resolved is not (IntegerType or PointerType or EnumType))
        {
            return unknown;
        }

        var size = one.Bytes.Length;
        var (a, b) = (Raw(one), Raw(two));
        if (one.Provenance == Provenance.Constant)
        {
            return a == b ? new EntryPlace(first, EntryPlaceKind.Constant, 0, (ulong)one.Number!, size) : unknown;
        }

        var mask = size == 8 ? ulong.MaxValue : (1ul << (8 * size)) - 1;
        for (var register = 0; register < RecordRegisters.Numbers(Architecture).Length; register++)
        {
            if (a == (ProbeStack.Register(register, 1) & mask) && b == (ProbeStack.Register(register, 2) & mask))
            {
                return new EntryPlace(first, EntryPlaceKind.Register, register, 0, size);
            }
        }

        for (var offset = Architecture.WordSize; offset < ProbeStack.Size; offset += Architecture.WordSize)
        {
            if (a == (ProbeStack.Word(offset, 1) & mask) && b == (ProbeStack.Word(offset, 2) & mask))
            {
                return new EntryPlace(first, EntryPlaceKind.Stack, offset, 0, size);
            }
        }

        return unknown;
    }

    private static ulong Raw(TypedValue value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        value.Bytes.Span.CopyTo(bytes);
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    private ImmutableArray<FrameVariable>? Probe(ulong entry, int seed)
    {
        var stack = StackAt(entry, seed);
        var lists = variables.ArgumentsOf(stack, new ProbeStack(Architecture, seed));
        return map.Image.HasDwarf ? lists.IsEmpty ? null : lists[^1] : EntryArguments.Of(map, types, stack.Frames[0].Registers);
    }

    private UnwindResult StackAt(ulong entry, int seed)
    {
        var registers = new RegisterSet(Architecture);
        var numbers = RecordRegisters.Numbers(Architecture);
        for (var i = 0; i < numbers.Length; i++)
        {
            registers[numbers[i]] = RecordRegisters.Word(ProbeStack.Register(i, seed), Architecture);
        }

        registers[Architecture.StackPointer] = RecordRegisters.Word(ProbeStack.Address, Architecture);
        registers[Architecture.ProgramCounter] = entry;
        return new UnwindResult([new UnwoundFrame(registers, UnwindRule.Registers, false)], new UnwindStop.EndOfStack());
    }

    /// <summary>A stack whose words are all different.</summary>
    private sealed class ProbeStack(Architecture architecture, int seed) : IMemoryReader
    {
        public const ulong Address = 0xffffc900_5a5a_0000;
        public const int Size = 256;

        public static ulong Register(int number, int seed) => 0x5e_0000_0000_0000 + ((ulong)seed * 0x0101_0101_0101_0101) + ((ulong)(number + 1) * 0x0000_0b0d_1113_171d);

        public static ulong Word(int offset, int seed) => Register(offset + 64, seed);

        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            var from = address - RecordRegisters.Word(Address, architecture);
            if (from >= Size || from + (ulong)destination.Length > Size)
            {
                return MemoryReadResult.NotFetched;
            }

            Span<byte> stack = stackalloc byte[Size + 8];
            for (var offset = 0; offset < Size; offset += architecture.WordSize)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(stack[offset..], Word(offset, seed));
            }

            stack.Slice((int)from, destination.Length).CopyTo(destination);
            return MemoryReadResult.Ok;
        }
    }
}
