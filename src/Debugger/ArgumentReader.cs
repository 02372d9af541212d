// At a function's first instruction the System V ABI for x86-64 (section 3.2.3) has the first six arguments of class INTEGER in rdi, rsi, rdx, rcx, r8, r9,
// one register each, and nothing has touched them yet. Clones (foo.isra.0, foo.constprop.0) take other parameters than the source says, and i386
// has several conventions at once (regparm(3), asmlinkage, variadic): for both nothing is shown rather than something wrong.
using System.Collections.Immutable;
using System.Globalization;
using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger;

/// <summary>Reads the arguments of a function that is being entered.</summary>
internal sealed class ArgumentReader(KernelMap map, GuestMemory memory)
{
    private const int MaximumText = 128;

    private readonly Dictionary<ulong, ImmutableArray<FunctionParameter>> _parameters = [];

    /// <summary>Empty when the tracepoint is not a function's first instruction, or its arguments are not surely where the ABI says.</summary>
    public async ValueTask<ImmutableArray<TraceArgument>> ReadAsync(Tracepoint tracepoint, RegisterSet registers, CancellationToken cancellationToken)
    {
        var parameters = ParametersOf(tracepoint, registers.ProgramCounter);
        if (parameters.IsEmpty)
        {
            return [];
        }

        var arguments = ImmutableArray.CreateBuilder<TraceArgument>(parameters.Length);
        for (var i = 0; i < parameters.Length; i++)
        {
            var value = registers[map.Image.Architecture.ArgumentRegisters[i]];
            arguments.Add(new TraceArgument(parameters[i].Name, parameters[i].Type, Narrow(value, parameters[i]), await TextAsync(value, parameters[i], cancellationToken)));
        }

        return arguments.MoveToImmutable();
    }

    public void Forget() => _parameters.Clear();

    private ImmutableArray<FunctionParameter> ParametersOf(Tracepoint tracepoint, ulong entry)
    {
        if (_parameters.TryGetValue(entry, out var parameters))
        {
            return parameters;
        }

        parameters = [];
        if (map.Image.Architecture is X86_64 && tracepoint.IsEntryAt(entry) && !tracepoint.Symbol.Contains('.')
            && map.FunctionAt(entry) is { ReturnsStructure: false } function)
        {
            // From the first parameter that takes no single register on, the rest may be anywhere.
            parameters = [.. function.Parameters.TakeWhile(p => p.Kind != ValueKind.Other && p.Size is > 0 and <= 8).Take(map.Image.Architecture.ArgumentRegisters.Length)];
        }

        _parameters[entry] = parameters;
        return parameters;
    }

    /// <summary>The upper part of a register is not part of a smaller argument.</summary>
    private static ulong Narrow(ulong value, FunctionParameter parameter) =>
        parameter.Size >= 8 ? value : value & ((1UL << (parameter.Size * 8)) - 1);

    private async ValueTask<string?> TextAsync(ulong value, FunctionParameter parameter, CancellationToken cancellationToken)
    {
        switch (parameter.Kind)
        {
            case ValueKind.Text when value != 0:
                return await memory.TryReadStringAsync(value, MaximumText, cancellationToken) is { } text ? $"\"{text}\"" : null;
            case ValueKind.Pointer when value == 0:
                return "NULL";
            case ValueKind.Pointer when map.Unwind.IsText(value):
                var frame = map.Symbolize(value)[^1];
                return frame.Offset == 0 ? $"<{frame.Function}>" : null;
            case ValueKind.Unsigned when parameter.Size <= 4:
                return Narrow(value, parameter).ToString(CultureInfo.InvariantCulture);
            case ValueKind.Signed:
                var shift = 64 - (parameter.Size * 8);
                return ((long)(value << shift) >> shift).ToString(CultureInfo.InvariantCulture);
            default:
                return null;
        }
    }
}
