// Values as people read them: numbers decimal, addresses hexadecimal, enumerators and functions by name, text quoted, objects with the name that they have in the kernel. What is
// known about single structures is in Printers/; offsets always come from the kernel's own types.
using System.Collections.Immutable;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values.Printers;

namespace KTrace.Symbols.Values;

/// <summary>Prints values for people. Never throws for what the guest holds; reads, text and depth are bounded.</summary>
public static class ValuePrinter
{
    private const int MaximumChildren = 1024;

    /// <summary>Prints a value.</summary>
    public static PrintedValue Print(TypedValue value, IValueScope scope, PrintOptions? options = null) => Print(new NamedValue("", value), scope, options);

    /// <summary>Prints a value that has a name: the name tells what some numbers mean (<c>flags</c>, <c>dev_addr</c>, <c>err</c>). The name itself is not printed.</summary>
    public static PrintedValue Print(NamedValue value, IValueScope scope, PrintOptions? options = null) => new PrintRun(scope, options ?? PrintOptions.Default).Print(value);

    /// <summary>Prints an argument or local; <c>&lt;optimized out&gt;</c> when it is not known.</summary>
    /// <param name="function">The function whose variable it is, or null.</param>
    public static PrintedValue Print(FrameVariable variable, string? function, IValueScope scope, PrintOptions? options = null) =>
        variable.Value is { } value
            ? Print(new NamedValue(variable.Name, value, function), scope, options)
            : new PrintedValue(variable.Provenance == Provenance.Unreadable ? "<cannot be read>" : "<optimized out>", []);

    /// <summary>Whether a tree can open the value. Reads nothing.</summary>
    public static bool HasChildren(TypedValue value) => value.Type.Resolved switch
    {
        StructType structure => structure.IsIncomplete || structure.Members.Length > 0,
        ArrayType { Count: > 0 } array => array.Element.Resolved is not IntegerType { IsText: true },
        PointerType { Target.Resolved: VoidType or FunctionType or IntegerType { IsText: true } } => false,
        PointerType => value.Bytes.IsEmpty || value.Number is not (null or 0),
        _ => false,
    };

    /// <summary>
    /// What a tree shows below the value: members (those of anonymous structures and unions stand with their neighbours), elements, the members of the structure that a pointer
    /// points to, or <c>*</c>, the thing that it points to. Values come without their bytes where those were not read yet.
    /// </summary>
    /// <param name="limit">Children at most.</param>
    public static ValueChildren Children(TypedValue value, IValueScope scope, int limit = MaximumChildren)
    {
        var reader = new ValueReader(scope, PrintOptions.Default.MaximumBytes);
        limit = Math.Min(limit, MaximumChildren);
        if (value.Type.Resolved is PointerType { Target: var target })
        {
            if (!HasChildren(value) || reader.Dereference(value) is not { } behind)
            {
                return new ValueChildren([], reader.Missing());
            }

            if (target.Resolved is not StructType)
            {
                return new ValueChildren([new NamedValue("*", behind)], []);
            }

            value = behind;
        }

        if (reader.StructureOf(value.Type) is { } structure)
        {
            var members = PrintRun.Flat(structure, 0).Take(limit).Select(member => new NamedValue(member.Name, reader.MemberOf(value, member), structure.Name));
            return new ValueChildren([.. members], []);
        }

        if (value.Type.Resolved is not ArrayType { Count: { } count, Element: var element } || element.Size <= 0)
        {
            return new ValueChildren([], []);
        }

        var elements = ImmutableArray.CreateBuilder<NamedValue>();
        for (var i = 0; i < Math.Min(count, limit); i++)
        {
            elements.Add(new NamedValue(FormattableString.Invariant($"[{i}]"), ValueReader.ElementOf(value, element, i, scope.Architecture.WordSize)));
        }

        return new ValueChildren(elements.ToImmutable(), []);
    }
}
