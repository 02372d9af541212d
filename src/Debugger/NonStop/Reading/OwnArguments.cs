// The arguments of the function that was entered. What FrameVariables finds for a function at its first instruction depends on the code alone, not on the values: it is asked twice, with made-up registers and a
// made-up stack whose words are all different, and where the value went along with a register or a stack slot, that is where it is from. So the places are those that stopping tracepoints read, and a hit
// costs a few moves.
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Values;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>Writes the arguments of functions that are being entered.</summary>
internal sealed class OwnArguments(KernelMap map, HitRecords names, FrameVariables variables, RecordScope scope, CompactWriter trace)
{
    // Where nothing that has a name can be: x86-64's direct map, vmalloc and vmemmap, below kernel and modules.
    private const ulong FirstUnnamed = 0xffff_8000_0000_0000;
    private const ulong FirstNamed = 0xffff_ffff_8000_0000;

    private static readonly PrintOptions Options = new() { MaximumLength = 120, MaximumDepth = 1, MaximumElements = 8, MaximumText = 80, FollowPointers = false };

    private readonly Dictionary<ulong, Plan> _plans = [];
    private readonly CompactValues _values = new();
    private int _meanings;

    private enum PlaceKind : byte
    {
        Unknown,
        Register,
        Stack,
        Constant,
    }

    private sealed class Parameter
    {
        public required FrameVariable Variable { get; init; }

        public PlaceKind Kind { get; init; }

        /// <summary>As records number it; or bytes above the stack pointer.</summary>
        public int Place { get; init; }

        public ulong Constant { get; init; }

        public int Size { get; init; }

        public bool IsSigned { get; init; }

        public bool IsPointer { get; init; }

        public string Form { get; set; } = ValueForm.Unsigned;

        /// <summary>Values whose texts are what the form makes of them, or were written.</summary>
        public HashSet<ulong> Told { get; } = [];
    }

    private sealed record Plan(NonStopSite Site, TraceFrame Frame, Parameter[] Parameters);

    /// <summary>Code was loaded or freed: the kernel's own functions are what they were, but pointers may have names now.</summary>
    public void Forget()
    {
        foreach (var (entry, plan) in _plans)
        {
            if (plan.Site.Module is not null || plan.Site.IsInit)
            {
                _plans.Remove(entry);
            }
            else
            {
                Array.ForEach(plan.Parameters, p => p.Told.RemoveWhere(value => p.IsPointer && value >= FirstNamed));
            }
        }
    }

    /// <summary>The values of a record's function; empty when it has none, or they are not known.</summary>
    public ReadOnlySpan<byte> Of(RingRecord record, NonStopSite site)
    {
        // The parameters are written anew then, and their meanings after them.
        if (_meanings > TraceFormat.MaxMeanings - TraceFormat.MaxArguments)
        {
            _meanings = 0;
            _plans.Clear();
        }

        if (!_plans.TryGetValue(site.Entry, out var plan))
        {
            _plans[site.Entry] = plan = Make(site);
        }

        _values.Clear();
        for (var i = 0; i < plan.Parameters.Length; i++)
        {
            var parameter = plan.Parameters[i];
            if (!TryRead(parameter, record, out var value))
            {
                _values.AddUnknown();
                continue;
            }

            if (!parameter.IsPointer || scope.Architecture.WordSize == 4 || value < FirstUnnamed || value >= FirstNamed)
            {
                Tell(plan, i, value);
            }

            _values.Add(value, parameter.IsSigned);
        }

        return _values.Written;
    }

    private static bool TryRead(Parameter parameter, RingRecord record, out ulong value)
    {
        value = 0;
        switch (parameter.Kind)
        {
            case PlaceKind.Register:
                value = record.Register(parameter.Place);
                break;
            case PlaceKind.Constant:
                value = parameter.Constant;
                return true;
            case PlaceKind.Stack:
                if (record.WindowCount == 0 || record.Window(0, out _, out _) is var window && window.Length < parameter.Place + 8)
                {
                    return false;
                }

                value = BinaryPrimitives.ReadUInt64LittleEndian(record.Window(0, out _, out _)[parameter.Place..]);
                break;
            default:
                return false;
        }

        var unused = 64 - (8 * parameter.Size);
        value = parameter.IsSigned ? (ulong)((long)(value << unused) >> unused) : value << unused >> unused;
        return true;
    }

    /// <summary>Writes what a value means where its form does not say it; once.</summary>
    private void Tell(Plan plan, int index, ulong value)
    {
        var parameter = plan.Parameters[index];
        if (!parameter.Told.Add(value))
        {
            return;
        }

        _meanings++;
        var text = Text(parameter, plan.Frame.Function, value);
        if (text != ValueForm.TextOf(parameter.Form, value))
        {
            trace.Meaning(plan.Frame, index, value, text);
        }
    }

    private string Text(Parameter parameter, string function, ulong value) =>
        ValuePrinter.Print(new NamedValue(parameter.Variable.Name, TypedValue.OfNumber(parameter.Variable.Type, value, Provenance.Register), function), scope, Options).Text;

    private Plan Make(NonStopSite site)
    {
        // The function itself comes last: what is inlined at its entry has not been entered.
        var frame = names.FramesOf(site.Entry, UnwindRule.Registers, null)[^1];
        if (Probe(site.Entry, 1) is not { } first || Probe(site.Entry, 2) is not { } second || first.Length != second.Length || first.Length > TraceFormat.MaxArguments)
        {
            return new Plan(site, frame, []);
        }

        var parameters = new Parameter[first.Length];
        for (var i = 0; i < parameters.Length; i++)
        {
            parameters[i] = Place(first[i], second[i]);
            parameters[i].Form = FormOf(parameters[i], frame.Function);
        }

        if (parameters.Length > 0)
        {
            trace.Parameters(frame, [.. parameters.Select(p => new TraceParameter(
                p.Variable.Name, p.Variable.Type.ToString(), p.Form, p.Kind switch
                {
                    PlaceKind.Stack => ArgumentProvenance.Memory,
                    PlaceKind.Constant => ArgumentProvenance.Constant,
                    _ => ArgumentProvenance.Register,
                }))]);
        }

        return new Plan(site, frame, parameters);
    }

    /// <summary>How most values of it read: asked with one that has no meaning of its own.</summary>
    private string FormOf(Parameter parameter, string function)
    {
        const ulong sample = 1_234_567_891;
        if (parameter.IsPointer)
        {
            return ValueForm.Pointer;
        }

        var value = parameter.Size < 8 ? sample & ((1ul << (8 * parameter.Size)) - 1) >> 1 : sample;
        return parameter.IsSigned ? ValueForm.Signed
            : parameter.Kind != PlaceKind.Unknown && Text(parameter, function, value) == value.ToString("x", CultureInfo.InvariantCulture).Insert(0, "0x") ? ValueForm.Hexadecimal
            : ValueForm.Unsigned;
    }

    private Parameter Place(FrameVariable first, FrameVariable second)
    {
        var unknown = new Parameter { Variable = first };
        if (first.Value is not { Number: not null, Target: null, BitSize: 0, Bytes.Length: <= 8 } one || second.Value is not { Number: not null } two
            || first.Type.Resolved is not (IntegerType or PointerType or EnumType))
        {
            return unknown;
        }

        var size = one.Bytes.Length;
        var word = new Parameter
        {
            Variable = first,
            Size = size,
            IsPointer = first.Type.Resolved is PointerType,
            IsSigned = first.Type.Resolved is IntegerType { IsSigned: true } or EnumType { IsSigned: true },
        };
        var (a, b) = (Raw(one), Raw(two));
        if (one.Provenance == Provenance.Constant)
        {
            return a == b ? Copy(word, PlaceKind.Constant, 0, (ulong)one.Number!) : unknown;
        }

        var mask = size == 8 ? ulong.MaxValue : (1ul << (8 * size)) - 1;
        for (var register = 0; register < RecordRegisters.Numbers(scope.Architecture).Length; register++)
        {
            if (a == (ProbeStack.Register(register, 1) & mask) && b == (ProbeStack.Register(register, 2) & mask))
            {
                return Copy(word, PlaceKind.Register, register, 0);
            }
        }

        for (var offset = scope.Architecture.WordSize; offset < ProbeStack.Size; offset += scope.Architecture.WordSize)
        {
            if (a == (ProbeStack.Word(offset, 1) & mask) && b == (ProbeStack.Word(offset, 2) & mask))
            {
                return Copy(word, PlaceKind.Stack, offset, 0);
            }
        }

        return unknown;
    }

    private static Parameter Copy(Parameter from, PlaceKind kind, int place, ulong constant) => new()
    {
        Variable = from.Variable, Kind = kind, Place = place, Constant = constant, Size = from.Size, IsPointer = from.IsPointer, IsSigned = from.IsSigned,
    };

    private static ulong Raw(TypedValue value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        value.Bytes.Span.CopyTo(bytes);
        return BinaryPrimitives.ReadUInt64LittleEndian(bytes);
    }

    private ImmutableArray<FrameVariable>? Probe(ulong entry, int seed)
    {
        var architecture = scope.Architecture;
        var registers = new RegisterSet(architecture);
        var numbers = RecordRegisters.Numbers(architecture);
        for (var i = 0; i < numbers.Length; i++)
        {
            registers[numbers[i]] = RecordRegisters.Word(ProbeStack.Register(i, seed), architecture);
        }

        registers[architecture.StackPointer] = RecordRegisters.Word(ProbeStack.Address, architecture);
        registers[architecture.ProgramCounter] = entry;
        var stack = new UnwindResult([new UnwoundFrame(registers, UnwindRule.Registers, false)], new UnwindStop.EndOfStack());
        var lists = variables.ArgumentsOf(stack, new ProbeStack(architecture, seed));
        return map.Image.HasDwarf ? lists.IsEmpty ? null : lists[^1] : EntryArguments.Of(map, scope.Types, registers);
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
