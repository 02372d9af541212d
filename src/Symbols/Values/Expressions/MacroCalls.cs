// Macros of the kernel that people write in expressions: include/linux/percpu-defs.h, include/linux/err.h, include/linux/array_size.h, include/linux/byteorder/generic.h.
using System.Buffers.Binary;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>What the macros in <see cref="Macro"/> give.</summary>
internal sealed class MacroCalls(Evaluator evaluator, Evaluation state)
{
    public Place? Call(Syntax.MacroCall node)
    {
        var types = state.Types;
        switch (node.Macro)
        {
            case Macro.PerCpu:
                return Cpu(node.Second!) is { } cpu ? Variable(node.First, cpu) : null;
            case Macro.ThisCpu:
                return Variable(node.First, state.Scope.Cpu);
            case Macro.PerCpuPointer:
                return Cpu(node.Second!) is { } of ? Pointer(node.First, of) : null;
            case Macro.ThisCpuPointer:
                return Pointer(node.First, state.Scope.Cpu);
            case Macro.ArraySize:
                return evaluator.WithoutReading(node.First, keepFailure: true) is not { } array ? null
                    : array.Value.Type.Resolved is ArrayType { Count: { } count } ? Evaluation.Computed(types.SizeType, count)
                    : state.Fail(node.First, $"{state.Text(node.First)} is {Evaluation.Article(array.Value.Type)}, not an array with a size");
        }

        if (evaluator.Number(node.First) is not { } value)
        {
            return null;
        }

        return node.Macro switch
        {
            Macro.IsError => Evaluation.Computed(types.Int, ErrorNumbers.IsError(value.Bits, types.AddressSize) ? 1 : 0),
            Macro.IsErrorOrNull => Evaluation.Computed(types.Int, value.Bits == 0 || ErrorNumbers.IsError(value.Bits, types.AddressSize) ? 1 : 0),
            Macro.PointerError => Evaluation.Computed(types.Long, value.Bits),
            Macro.BigEndian16 => Evaluation.Computed(types.UnsignedInt, BinaryPrimitives.ReverseEndianness((ushort)value.Bits)),
            _ => Evaluation.Computed(types.UnsignedInt, BinaryPrimitives.ReverseEndianness((uint)value.Bits)),
        };
    }

    private int? Cpu(Syntax node)
    {
        if (evaluator.Number(node) is not { } value)
        {
            return null;
        }

        return value.IsPointer || value.Bits is < 0 or > ushort.MaxValue ? state.FailNumber<int>(node, $"there is no CPU {value.Bits}") : (int)value.Bits;
    }

    /// <summary>Whatever per-cpu variable the expression names, it is that CPU's.</summary>
    private Place? Variable(Syntax node, int cpu)
    {
        var before = state.Cpu;
        state.Cpu = cpu;
        var place = evaluator.Evaluate(node);
        state.Cpu = before;
        return place;
    }

    /// <summary>A pointer that alloc_percpu() gave, or the address of a per-cpu variable: it points to the template.</summary>
    private Place? Pointer(Syntax node, int cpu)
    {
        if (evaluator.Evaluate(node) is not { } place)
        {
            return null;
        }

        if (node is Syntax.Unary { Operator: UnaryOperator.AddressOf } address)
        {
            return Variable(address, cpu);
        }

        if (state.Number(place, node) is not { } pointer)
        {
            return null;
        }

        return !pointer.IsPointer ? state.Fail(node, $"{state.Text(node)} is {Evaluation.Article(pointer.Type)}, not a pointer")
            : state.PerCpuOffset(cpu, node) is { } offset ? Evaluation.Computed(pointer.Type, pointer.Bits + (long)offset)
            : null;
    }
}
