"""The estimators beside other learners of tables: data sets, methods, fits, comparisons."""
