// Which variables lie in a function's frame, by the debug information: what another function may write to that was given the address of one of them is that variable and no more.
// Only what is in scope counts, as GCC lets variables of different scopes share a place (cfgexpand.cc). What has no DIE (a compound literal, a result that is
// returned in memory) is in no variable's extent, and then nothing is said.
using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Kernel;

namespace KTrace.Symbols.Recovery;

/// <param name="Offset">Bytes from the CFA.</param>
/// <param name="Size">Bytes.</param>
internal readonly record struct FrameObject(long Offset, long Size);

/// <summary>Looks up variables in the frames of one object's functions. Kept for its types.</summary>
internal sealed class FrameObjects(KernelCalls.Part part, int stackPointer)
{
    private const int MaximumNodes = 256;

    private readonly Lazy<DwarfTypes?> _types = new(() => part.Symbolizer is { HasDwarf: true } symbolizer ? new DwarfTypes(symbolizer) : null);

    /// <summary>The variables that are in scope at an address of the object and lie in the frame of the function there; empty when that is not known.</summary>
    public ImmutableArray<FrameObject> At(ulong address)
    {
        try
        {
            return part.Calls is { } calls && _types.Value is { } types && calls.TryFindFunction(address, out var function)
                ? Read(calls.UnitAt(function.Unit), types, in function, address)
                : [];
        }
        catch (MalformedFileException)
        {
            return [];
        }
    }

    private ImmutableArray<FrameObject> Read(Unit unit, DwarfTypes types, in DwarfFunction function, ulong address)
    {
        var root = ScopeReader.Read(unit, function.Entry, address);
        if (!PassingPlace.IsCfa(root.FrameBase))
        {
            return [];
        }

        var objects = ImmutableArray.CreateBuilder<FrameObject>();
        var tree = new InlineTree();
        tree.Load(unit, function.Entry, default);
        var nodes = 0;
        for (var index = tree.Innermost(address); index > 0 && nodes < MaximumNodes; index = tree[index].Parent, nodes++)
        {
            Add(objects, ScopeReader.Read(unit, tree[index].Entry, address), types, address);
        }

        Add(objects, root, types, address);
        return objects.DrainToImmutable();
    }

    private void Add(ImmutableArray<FrameObject>.Builder objects, ScopeDie scope, DwarfTypes types, ulong address)
    {
        foreach (var variable in scope.Parameters.Concat(scope.Locals))
        {
            var location = variable.At(address);
            if (!location.IsNone && location.Span[0] == DwOp.Fbreg && PassingPlace.Of(in location, stackPointer) is { Kind: PassingPlaceKind.Stack, Size: 0 } place
                && types.TypeAt(variable.Type).Size is > 0 and var size && IsPlain(in location))
            {
                objects.Add(new FrameObject(place.Offset, size));
            }
        }
    }

    /// <summary>DW_OP_fbreg and its number, nothing else: with DW_OP_deref the variable is elsewhere.</summary>
    private static bool IsPlain(in ExpressionBytes location)
    {
        var bytes = location.Span;
        var length = 1;
        while (length < bytes.Length && (bytes[length] & 0x80) != 0)
        {
            length++;
        }

        return bytes.Length == length + 1;
    }
}
