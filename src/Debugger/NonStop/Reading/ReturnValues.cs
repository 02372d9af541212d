using KTrace.Debugger.Values;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary><c>$ret</c> of functions that return, by their types.</summary>
internal sealed class ReturnValues(IValueScope scope, CompactWriter trace)
{
    private const int MaximumKept = 1 << 15;
    private const string Name = "$ret";

    private static readonly PrintOptions Options = new() { MaximumLength = 120, MaximumDepth = 1, FollowPointers = false };

    private readonly Dictionary<string, Result?> _functions = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Type, string Form), int> _results = [];
    private readonly Dictionary<(Result Result, ulong Low, ulong High), byte[]?> _texts = [];
    private readonly RegisterSet _registers = new(scope.Architecture);
    private readonly CompactValues _values = new();

    private sealed record Result(CType Type, int Id, string Form);

    /// <summary>Code was loaded or freed.</summary>
    public void Forget()
    {
        _functions.Clear();
        _texts.Clear();
    }

    /// <summary>The id of a function's result line and the value; 0 where it returns nothing, or its type is not known.</summary>
    public int Of(string function, ulong low, ulong high, out ReadOnlySpan<byte> value)
    {
        value = default;
        if (!_functions.TryGetValue(function, out var result))
        {
            _functions[function] = result = Find(function);
        }

        if (result is null)
        {
            return 0;
        }

        _values.Clear();
        var key = (result, low, high);
        if (!_texts.TryGetValue(key, out var text))
        {
            if (_texts.Count >= MaximumKept)
            {
                _texts.Clear();
            }

            _texts[key] = text = Describe(result, low, high);
        }

        _values.AddRaw(text!);
        value = _values.Written;
        return result.Id;
    }

    private byte[] Describe(Result result, ulong low, ulong high)
    {
        var (ax, dx) = scope.Architecture is X86_64 ? (X86_64.Rax, X86_64.Rdx) : (I386.Eax, I386.Edx);
        (_registers[ax], _registers[dx]) = (low, high);
        if (ReturnValue.Of(result.Type, _registers) is not { } value)
        {
            return "null"u8.ToArray();
        }

        var text = ValuePrinter.Print(new NamedValue(Name, value), scope, Options).Text;
        var number = (ulong?)value.Number;
        if (number is not { } plain || ValueForm.TextOf(result.Form, plain) != text)
        {
            return CompactValues.Describe(number, text);
        }

        _values.Clear();
        _values.Add(plain, result.Form == ValueForm.Signed);
        var json = _values.Written.ToArray();
        _values.Clear();
        return json;
    }

    private Result? Find(string function)
    {
        if (scope.Types.FindFunction(function) is not { Type: FunctionType { Returns: var type } } || type.Resolved is VoidType)
        {
            return null;
        }

        var form = type.Resolved switch
        {
            PointerType => ValueForm.Pointer,
            IntegerType { IsSigned: true } or EnumType { IsSigned: true } => ValueForm.Signed,
            _ => ValueForm.Unsigned,
        };
        var name = type.ToString();
        if (!_results.TryGetValue((name, form), out var id))
        {
            if (_results.Count == TraceFormat.MaxTasks)
            {
                return null;
            }

            _results[(name, form)] = id = _results.Count + 1;
            trace.Result(id, name, form);
        }

        return new Result(type, id, form);
    }
}
