using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Dwarf.Locations;

/// <summary>A frame of tables: registers, memory, what was passed.</summary>
internal sealed class FakeFrame : LocationContext
{
    public Dictionary<int, ulong> Registers { get; } = [];

    public Dictionary<int, ulong> Entered { get; } = [];

    public Dictionary<ulong, byte> Memory { get; } = [];

    public ulong? Object { get; init; }

    public ulong Slide { get; init; }

    public Dictionary<long, byte[]> Callable { get; } = [];

    public override ulong? ObjectAddress => Object;

    /// <summary>Evaluates bytes in a unit that has base types: int at 1, unsigned char at 2, float at 3 (see <see cref="Types"/>).</summary>
    public static Unit UnitOf(int addressSize = 8, int version = 5, Action<SyntheticSections>? more = null)
    {
        var root = new DieSketch(DwTag.CompileUnit).Add(Types);
        var builder = new DwarfBuilder();
        builder.AddUnit(root, version, addressSize: addressSize);
        var sections = builder.Build(new SyntheticSections(addressSize));
        more?.Invoke(sections);
        var unit = new Unit(new DwarfSections(sections));
        unit.Load(0);
        return unit;
    }

    /// <summary>int, unsigned char, double, __int128.</summary>
    public static DieSketch[] Types { get; } =
    [
        new DieSketch(DwTag.BaseType).With(DwAt.ByteSize, DwForm.Data1, 4).With(DwAt.Encoding, DwForm.Data1, 5),
        new DieSketch(DwTag.BaseType).With(DwAt.ByteSize, DwForm.Data1, 1).With(DwAt.Encoding, DwForm.Data1, 8),
        new DieSketch(DwTag.BaseType).With(DwAt.ByteSize, DwForm.Data1, 8).With(DwAt.Encoding, DwForm.Data1, 4),
        new DieSketch(DwTag.BaseType).With(DwAt.ByteSize, DwForm.Data1, 16).With(DwAt.Encoding, DwForm.Data1, 5),
    ];

    public LocationResult Locate(byte[] expression, Unit? unit = null)
    {
        var result = new LocationResult();
        LocationExpression.Locate(this, unit ?? UnitOf(), Bytes(expression), result);
        return result;
    }

    public static ExpressionBytes Bytes(byte[] expression) => new(new SectionData("synthetic", ".debug_info", expression), 0, expression.Length);

    public override bool TryRegister(int register, out ulong value, ref ValueSources sources)
    {
        sources |= ValueSources.Register;
        return Registers.TryGetValue(register, out value);
    }

    public override ExpressionOutcome FrameBase(out ulong value)
    {
        value = 0x7000;
        return ExpressionOutcome.Value;
    }

    public override ExpressionOutcome CallFrameAddress(out ulong value)
    {
        value = 0x7010;
        return ExpressionOutcome.Value;
    }

    public override MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        for (var i = 0; i < destination.Length; i++)
        {
            if (!Memory.TryGetValue(address + (ulong)i, out destination[i]))
            {
                return address == 0xbad ? MemoryReadResult.Unreadable : MemoryReadResult.NotFetched;
            }
        }

        return MemoryReadResult.Ok;
    }

    public override ExpressionOutcome EntryValue(Unit unit, ExpressionBytes expression, ref ValueSources sources, out ulong value)
    {
        sources |= ValueSources.Entry;
        value = 0;
        return PassingPlace.Of(in expression, 7) is { Kind: PassingPlaceKind.Register } place && Entered.TryGetValue(place.Register, out value)
            ? ExpressionOutcome.Value
            : ExpressionOutcome.Unusable;
    }

    public override ExpressionOutcome ParameterAtEntry(long entry, ref ValueSources sources, out ulong value)
    {
        value = (ulong)entry;
        return ExpressionOutcome.Value;
    }

    public override ulong ToRunTime(ulong address) => address + Slide;

    public override bool TryLocationOf(Unit unit, long entry, out Unit owner, out ExpressionBytes expression)
    {
        owner = unit;
        expression = Callable.TryGetValue(entry, out var bytes) ? Bytes(bytes) : default;
        return Callable.ContainsKey(entry);
    }
}
