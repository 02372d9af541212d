using System.Globalization;

namespace KTrace.Symbols.Values;

/// <summary>Prints values for people.</summary>
public static class ValuePrinter
{
    public static PrintedValue Print(TypedValue value, IValueScope scope, PrintOptions? options = null) => Print(new NamedValue("", value), scope, options);

    /// <summary>With its name, which tells what some numbers mean (<c>flags</c>, <c>dev_addr</c>, <c>err</c>).</summary>
    public static PrintedValue Print(NamedValue value, IValueScope scope, PrintOptions? options = null)
    {
        var reader = new ValueReader(scope, (options ?? PrintOptions.Default).MaximumBytes);
        var text = reader.Number(value.Value)?.ToString(CultureInfo.InvariantCulture) ?? "?";
        return new PrintedValue(text, reader.Missing());
    }

    /// <summary>What a tree shows below the value: members, elements, or what a pointer points to.</summary>
    public static ValueChildren Children(TypedValue value, IValueScope scope, PrintOptions? options = null) => new([], []);
}
