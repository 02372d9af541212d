using KTrace.Debugger.Values;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary><c>$ret</c> of functions that return, by their types.</summary>
internal sealed class ReturnValues(IValueScope scope)
{
    private const int MaximumKept = 1 << 15;
    private const string Name = "$ret";

    private static readonly PrintOptions Options = new() { MaximumLength = 120, MaximumDepth = 1, FollowPointers = false };

    private readonly Dictionary<string, CType?> _types = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Symbol, ulong Low, ulong High), TracePrint?> _known = [];
    private readonly RegisterSet _registers = new(scope.Architecture);

    public void Forget()
    {
        _types.Clear();
        _known.Clear();
    }

    /// <summary>Null where the function returns nothing, or its type is not known.</summary>
    public TracePrint? Of(string symbol, ulong low, ulong high)
    {
        var key = (symbol, low, high);
        if (_known.TryGetValue(key, out var print))
        {
            return print;
        }

        if (_known.Count >= MaximumKept)
        {
            _known.Clear();
        }

        return _known[key] = Print(symbol, low, high);
    }

    private TracePrint? Print(string symbol, ulong low, ulong high)
    {
        if (!_types.TryGetValue(symbol, out var type))
        {
            type = scope.Types.FindFunction(symbol) is { Type: FunctionType { Returns: var returns } } && returns.Resolved is not VoidType ? returns : null;
            _types[symbol] = type;
        }

        var (ax, dx) = scope.Architecture is X86_64 ? (X86_64.Rax, X86_64.Rdx) : (I386.Eax, I386.Edx);
        (_registers[ax], _registers[dx]) = (low, high);
        return ReturnValue.Of(type, _registers) is { } value
            ? new TracePrint(Name, value.Type.ToString(), (ulong?)value.Number, ValuePrinter.Print(new NamedValue(Name, value), scope, Options).Text)
            : null;
    }
}
