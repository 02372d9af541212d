// A kernel without DWARF still has .BTF, which knows every function's parameters but not where they are. At a function's first instruction the ABI says where: System V psABI for x86-64,
// section 3.2.3 (rdi, rsi, rdx, rcx, r8, r9), and -mregparm=3 on i386 (eax, edx, ecx). From the first parameter on that takes no single register, the rest may be anywhere.
using System.Collections.Immutable;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;

namespace KTrace.Debugger.Values;

/// <summary>Arguments of a function that is being entered, without debug information about places.</summary>
internal static class EntryArguments
{
    /// <returns>Empty where the pc is no function's first instruction, or its type is not known.</returns>
    public static ImmutableArray<FrameVariable> Of(KernelMap map, ITypeSource types, RegisterSet registers)
    {
        // A clone (foo.isra.0) takes other parameters than the source says.
        if (map.NameOf(registers.ProgramCounter) is not { } name || name.Contains('+') || name.Contains('.')
            || types.FindFunction(name)?.Type is not FunctionType { IsVariadic: false } function || IsInMemory(function.Returns))
        {
            return [];
        }

        var arguments = ImmutableArray.CreateBuilder<FrameVariable>();
        var places = registers.Architecture.ArgumentRegisters;
        foreach (var parameter in function.Parameters.Take(places.Length))
        {
            if (parameter.Type.Resolved is not (IntegerType or PointerType or EnumType) || parameter.Type.Size > registers.Architecture.WordSize || !registers.IsKnown(places[arguments.Count]))
            {
                break;
            }

            arguments.Add(new FrameVariable(
                parameter.Name, parameter.Type, IsParameter: true, TypedValue.OfNumber(parameter.Type, registers[places[arguments.Count]], Provenance.Register)));
        }

        return arguments.DrainToImmutable();
    }

    /// <summary>A hidden first argument may say where the result goes.</summary>
    private static bool IsInMemory(CType type) => type.Resolved is StructType;
}
